//! A script: what happens in a run, as data, so that a failing one can be shortened. Each step has its own seed, and a step
//! that cannot be done does nothing, so that the others stay what they are when some are left out.

use crate::support::NS_2;
use crate::support::NS_LEGACY;
use crate::support::seeds::Dice;
use crate::support::world::network::Conditions;
use omemo::manager::config::{Habits, Healing};
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};

pub const ACCOUNTS: usize = 4;
pub const DEVICES: usize = 3;
/// Texts that a script has written.
pub const TEXTS: usize = 300;

/// One thing that happens. A slot is the place of a device of an account: `account * DEVICES` and on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The wire is like this from now on.
    Wire(Conditions),
    /// A device writes to an account.
    Say {
        slot: usize,
        account: usize,
        dice: u64,
    },
    /// A device writes to the room in which all accounts are.
    SayInRoom {
        slot: usize,
        dice: u64,
    },
    Wait {
        seconds: u64,
    },
    /// The process of a device ends and starts again.
    Restart {
        slot: usize,
    },
    /// A device goes offline.
    Leave {
        slot: usize,
    },
    /// It comes back and reads the archive, from so many stanzas before what it missed.
    Come {
        slot: usize,
        overlap: usize,
    },
    /// The next requests of a device fail; the reason is an `omemo_reject_reason`, 0 is silence.
    Fail {
        slot: usize,
        reason: i32,
        count: usize,
    },
    /// A user judges the key of another's device.
    Judge {
        slot: usize,
        of: usize,
        level: &'static str,
    },
    /// A device is thrown away, and the account logs in with a new one in its place.
    Reinstall {
        slot: usize,
    },
    /// A user copies the store of a device.
    Backup {
        slot: usize,
    },
    /// The copy takes the place of the store.
    Restore {
        slot: usize,
    },
    /// A device forgets an account.
    Purge {
        slot: usize,
        account: usize,
    },
    /// A device replaces its sessions with an account.
    Replace {
        slot: usize,
        account: usize,
    },
    /// A device replaces its sessions with everybody.
    ReplaceAll {
        slot: usize,
    },
}

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Churn {
    /// Loss, disorder, restarts, absence: what may cost no message that was delivered.
    None,
    /// And failing servers, distrust, backups, reinstalled and purged devices.
    Some,
}

/// How a seed sets the world up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub seed: u64,
    pub accounts: usize,
    pub churn: Churn,
    pub healing: Healing,
    /// The namespace of all, or `None`: each device of an account has its own.
    pub namespace: Option<Namespace>,
    /// The server's answers come later, not inside the callbacks.
    pub latency: Latency,
}

/// When answers come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    None,
    Some,
}

impl Setup {
    pub fn of(seed: u64) -> Self {
        // Every fifth is without churn, the face changes with each seed, the namespaces with each third.
        let churn = if seed.is_multiple_of(5) { Churn::None } else { Churn::Some };
        let healing = if seed % 4 < 2 { Healing::Manual } else { Healing::Automatic };
        let namespace = [Some(Omemo2), Some(Legacy), None][(seed % 3) as usize];
        let latency = if seed % 7 < 3 { Latency::Some } else { Latency::None };
        Self { seed, accounts: ACCOUNTS, churn, healing, namespace, latency }
    }

    pub fn slots(&self) -> usize {
        self.accounts * DEVICES
    }

    /// What the world's devices speak.
    pub fn world_namespace(&self) -> &'static str {
        if self.namespace == Some(Legacy) { NS_LEGACY } else { NS_2 }
    }

    /// What the device of a slot speaks.
    pub fn namespaces(&self, slot: usize) -> Vec<Namespace> {
        match self.namespace {
            Some(namespace) => vec![namespace],
            None => [vec![Legacy, Omemo2], vec![Omemo2], vec![Legacy]][slot % DEVICES].clone(),
        }
    }

    /// Whether there are other implementations: in a fifth of the seeds, which go through the Rust face.
    pub fn has_others(&self) -> bool {
        matches!(self.seed % 10, 3 | 9)
    }

    /// Whose habits the device of a slot has. Where there are others, an account has a device like this library's, one with a
    /// single session, and one that announces PN - 1.
    pub fn habits(&self, slot: usize) -> Habits {
        if !self.has_others() {
            return Habits::Own;
        }
        [Habits::Own, Habits::SingleSession, Habits::ShortenedPn][slot % DEVICES]
    }

    /// The script of the seed.
    pub fn script(&self) -> Vec<Step> {
        let dice = Dice::new(self.seed ^ 0x5117);
        let mut writer =
            Writer { dice, accounts: self.accounts, steps: Vec::new(), later: Vec::new(), said: 0 };
        match self.churn {
            Churn::None => writer.greet(),
            Churn::Some => (),
        }
        let conditions = writer.conditions();
        writer.steps.push(Step::Wire(conditions));
        while writer.said < TEXTS {
            writer.add(self.churn);
        }
        writer.steps
    }
}

struct Writer {
    dice: Dice,
    accounts: usize,
    steps: Vec<Step>,
    /// What is to come, and after how many steps in all.
    later: Vec<(usize, Step)>,
    said: usize,
}

impl Writer {
    /// Everybody writes once while nothing goes wrong: key exchanges do not cross.
    fn greet(&mut self) {
        for slot in 0..self.accounts * DEVICES {
            self.steps.push(Step::SayInRoom { slot, dice: self.dice.roll() });
            self.steps.push(Step::Wait { seconds: 30 });
            self.said += 1;
        }
        self.steps.push(Step::Wait { seconds: 6 * 3_600 });
    }

    fn conditions(&mut self) -> Conditions {
        Conditions {
            loss: self.dice.below(20) as u64,
            twice: self.dice.below(20) as u64,
            late: self.dice.below(40) as u64,
            late_ms: 1_000 + self.dice.below(200_000),
        }
    }

    fn slot(&mut self) -> usize {
        self.dice.below(self.accounts * DEVICES)
    }

    /// The account of somebody else.
    fn account(&mut self, slot: usize) -> usize {
        (slot / DEVICES + 1 + self.dice.below(self.accounts - 1)) % self.accounts
    }

    /// A user distrusts a device, and trusts it again after a while.
    fn distrust(&mut self, slot: usize) -> Step {
        let (of, after) = (self.slot(), 5 + self.dice.below(15));
        self.later.push((self.steps.len() + after, Step::Judge { slot, of, level: "trusted" }));
        Step::Judge { slot, of, level: "distrusted" }
    }

    /// A device replaces all its sessions, sometimes twice, and sometimes it is gone at once.
    fn replace_all(&mut self, slot: usize) -> Step {
        let all = Step::ReplaceAll { slot };
        match self.dice.below(4) {
            0 => self.steps.push(all),
            1 => {
                self.steps.push(all);
                return Step::Leave { slot };
            }
            _ => (),
        }
        all
    }

    /// What costs many messages happens in a few runs only.
    fn rarely(&mut self, step: Step) -> Step {
        if self.dice.percent(25) { step } else { Step::Wait { seconds: 5 } }
    }

    fn add(&mut self, churn: Churn) {
        if let Some(index) = self.later.iter().position(|(at, _)| *at <= self.steps.len()) {
            self.steps.push(self.later.remove(index).1);
        }
        let (slot, dice) = (self.slot(), self.dice.roll());
        let account = self.account(slot);
        let end = if churn == Churn::None { 264 } else { 306 };
        let step = match self.dice.below(end) {
            0..150 => Step::Say { slot, account, dice },
            150..196 => Step::SayInRoom { slot, dice },
            196..216 => Step::Wait { seconds: 1 + self.dice.below(120) as u64 },
            216..222 => Step::Wait { seconds: 600 + self.dice.below(8_000) as u64 },
            222..232 => Step::Restart { slot },
            232..240 => Step::Leave { slot },
            240..260 => Step::Come { slot, overlap: [0, 0, 5, 200][self.dice.below(4)] },
            260..264 => Step::Wire(self.conditions()),
            264..271 => {
                let reason = [0, 1, 2, 3][self.dice.below(4)];
                Step::Fail { slot, reason, count: 1 + self.dice.below(4) }
            }
            271..273 => self.distrust(slot),
            273..285 => Step::Judge { slot, of: self.slot(), level: "trusted" },
            285..286 => Step::Reinstall { slot },
            286..297 => Step::Backup { slot },
            297..298 => Step::Restore { slot },
            298..299 => self.rarely(Step::Purge { slot, account }),
            299..302 => Step::Replace { slot, account },
            302..303 => Step::Wait { seconds: 86_400 + self.dice.below(3 * 86_400) as u64 },
            303..305 => self.replace_all(slot),
            _ => Step::Wire(self.conditions()),
        };
        self.said += usize::from(matches!(step, Step::Say { .. } | Step::SayInRoom { .. }));
        self.steps.push(step);
    }
}
