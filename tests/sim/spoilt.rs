//! Faults planted in the world, not in the library, so that each rule of the oracle is seen to find one.

use crate::play::Sim;
use crate::rule::Rule;
use crate::script::{Setup, Step};
use crate::support::Request;
use crate::support::workers;
use crate::support::world::network::{Conditions, Delivery, Way};
use crate::support::world::{Device, Kind};
use crate::{run, tap};

/// What the world does wrong without telling the oracle: to a text of a chat on its way to the device `WHOM`, or when that
/// restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoilt {
    /// A stanza counts as delivered and never is.
    Drop,
    /// A text is shown a second time.
    Again,
    /// What was read before comes again, and is no duplicate.
    Renamed,
    /// Another text is shown.
    Altered,
    /// A text stands on the wire.
    Leak,
    /// A text stands in the store.
    Kept,
    /// What was refused is written down.
    Trace,
    /// An older copy of a store is put back.
    SecretRestore,
    /// A key protects two messages.
    SameKey,
    /// A bundle with a pre key that was used is published.
    OldBundle,
    /// Somebody has judged a key.
    Judged,
    /// The store grows.
    Grown,
    /// The store is damaged.
    Damaged,
    /// The server hides a bundle.
    Hidden,
    /// Nobody hears that a store is an older copy.
    Untold,
    /// Nothing reaches the device any more.
    Unreached,
}

const WHOM: usize = 4;

impl<D: Device> Sim<D> {
    /// What is spoilt about a delivery.
    pub fn spoilt_delivery(&self, slot: usize, delivery: &Delivery) -> Option<Spoilt> {
        let is_text = self.facts.stanzas[delivery.stanza].text.is_some();
        self.spoilt.filter(|_| slot == WHOM && is_text && delivery.way == Way::Live)
    }

    /// Keeps the first bundles, to be planted later.
    pub fn keep_bundles(&mut self) {
        if self.spoilt != Some(Spoilt::OldBundle) {
            return;
        }
        for endpoint in self.slots.iter().map(|slot| slot.endpoint) {
            let device = &self.facts.devices[&endpoint];
            let ns = device.namespaces[0].uri();
            let request = Request {
                kind: Kind::PublishBundle,
                endpoint,
                ns: ns.to_owned(),
                jid: device.jid.clone(),
                device: device.id,
                xml: self.world.bundle(ns, &device.jid, device.id),
                at_ms: self.world.now_ms(),
            };
            self.first_bundles.insert(endpoint, request);
        }
    }

    /// Spoils something about a device that has restarted.
    pub fn plant(&mut self, slot: usize) {
        let Some(spoilt) = self.spoilt.filter(|_| slot == WHOM) else { return };
        self.planted = true;
        let place = &self.slots[slot];
        let other = &self.facts.devices[&self.slots[0].endpoint];
        match spoilt {
            Spoilt::Kept => {
                let text = self.texts.last().cloned().unwrap_or_else(|| crate::check::CANARY.to_owned());
                place.device.storage().plant("v1/planted", text.into_bytes());
            }
            Spoilt::SameKey => {
                let sent = self.facts.stanzas.iter().rposition(|stanza| stanza.sender == place.endpoint);
                let Some(sent) = sent else { return };
                let mut seen = tap::read(&self.network.posted(sent).xml);
                seen.keys.iter_mut().for_each(|key| key.bytes.push(0));
                self.tap.borrow_mut().note_message(place.endpoint, &seen);
            }
            Spoilt::OldBundle => {
                self.tap.borrow_mut().hear(&self.first_bundles[&place.endpoint]);
            }
            Spoilt::Judged => {
                place.device.set_trust(&other.jid, &other.key, "undecided");
                // At once: who is asked about the key next decides about it again.
                self.check_sometimes();
            }
            Spoilt::Grown => {
                place.device.storage().plant("v1/grown", vec![0; 1 << 20]);
            }
            Spoilt::Damaged => {
                place.device.storage().truncate("jid", &other.jid);
                self.restart(slot, None);
            }
            Spoilt::Hidden => self.tap.borrow_mut().hidden = Some(self.facts.devices[&place.endpoint].id),
            Spoilt::Unreached => self.network.remove(place.endpoint),
            _ => (),
        }
    }
}

/// Plays a script of two accounts in which a fault is planted; what it was found by, and the shortest script that shows it.
fn find(spoilt: Spoilt, seed: u64) -> Option<(Rule, Vec<Step>)> {
    let setup = Setup { accounts: 2, ..Setup::of(seed) };
    let around = setup.script();
    let mut script = around[..12].to_vec();
    script.extend([
        Step::Wire(Conditions::default()),
        Step::Backup { slot: WHOM },
        // A new signed pre key is published.
        Step::Wait { seconds: 8 * 86_400 },
        Step::Say { slot: WHOM, account: 0, dice: 1 },
        Step::Say { slot: 0, account: 1, dice: 2 },
        Step::Say { slot: 1, account: 1, dice: 3 },
        Step::Restore { slot: WHOM },
        Step::Restart { slot: WHOM },
    ]);
    script.extend(&around[12..24]);
    let failure = run::play(setup, &script, Some(spoilt)).failure?;
    let short = run::shrink(setup, &script, Some(spoilt));
    println!("{spoilt:?}: {failure}; in {} steps of {}: {short:?}", short.len(), script.len());
    Some((failure.rule, short))
}

#[test]
fn what_is_planted_is_found_and_shown_in_a_few_steps() {
    use Rule::{
        Altered, DecryptedTwice, Duplicate, KeyUsedTwice, Leak, Lost, PreKeys, Silent, Size, Store, Trace,
        Trust, Unserved,
    };
    let all = [
        (Spoilt::Drop, Lost, 1),
        (Spoilt::Again, DecryptedTwice, 1),
        (Spoilt::Altered, Altered, 1),
        (Spoilt::Leak, Leak, 1),
        (Spoilt::Kept, Leak, 1),
        (Spoilt::Trace, Trace, 1),
        (Spoilt::SecretRestore, DecryptedTwice, 4),
        (Spoilt::SameKey, KeyUsedTwice, 3),
        (Spoilt::OldBundle, PreKeys, 4),
        (Spoilt::Judged, Trust, 2),
        (Spoilt::Grown, Size, 1),
        (Spoilt::Damaged, Store, 2),
        (Spoilt::Hidden, Unserved, 2),
        (Spoilt::Untold, Rule::Unnoticed, 3),
        (Spoilt::Unreached, Silent, 1),
        (Spoilt::Renamed, Duplicate, 1),
    ];
    let numbers: Vec<u64> = (0..all.len() as u64).collect();
    // Through both faces and in both namespaces in turn.
    let found = workers::each(&numbers, |number| find(all[*number as usize].0, [1, 6][*number as usize % 2]));
    let mut wrong = Vec::new();
    for (index, ((spoilt, rule, most), found)) in all.iter().zip(&found).enumerate() {
        // The C functions draw other keys each time: there a shorter script may break another rule, or none.
        let on_rust_face = |index: usize| index.is_multiple_of(2);
        let is_short = |short: &Vec<Step>| short.len() <= *most || !on_rust_face(index);
        if !found.as_ref().is_some_and(|(found, short)| found == rule && is_short(short)) {
            wrong.push(format!("{spoilt:?}, {rule:?} in {most} steps: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
