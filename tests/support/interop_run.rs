//! A conversation with another implementation: Romeo's devices are ours, Juliet's are the peer's.
//!
//! A `PeerConfig` says who the peer is and what both sides speak; `with_peers!` makes a test of a case for each of them.
//! A text counts as read by the peer only when it stands in the output of its process.

use super::client::{Client, Decrypted, Setup, settle, status_name};
use super::peer::{Heard, Kind, Peer, hex};
use super::store_file::StoreFile;
use super::world::{Answering, World};
pub use super::{JULIET, ROMEO};
use super::{NS_2, NS_LEGACY, abi, seeds};

/// A kind of peer, and the namespaces our devices speak with it.
#[derive(Clone, Copy, Debug)]
pub struct PeerConfig {
    pub name: &'static str,
    pub kind: Kind,
    pub ours: &'static [&'static str],
    pub store: StoreKind,
}

/// What our devices store in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A file, as most clients do.
    File,
    /// Records that a test compares, or puts back.
    Records,
}

pub const PYTHON_2: PeerConfig = PeerConfig {
    name: "python-omemo, omemo:2",
    kind: Kind::Python(&[NS_2]),
    ours: &[NS_2],
    store: StoreKind::File,
};
pub const PYTHON_LEGACY: PeerConfig = PeerConfig {
    name: "python-omemo, legacy",
    kind: Kind::Python(&[NS_LEGACY]),
    ours: &[NS_LEGACY],
    store: StoreKind::File,
};
/// With devices of ours that prefer another namespace than theirs.
pub const PYTHON_2_OF_BOTH: PeerConfig = PeerConfig {
    name: "python-omemo, omemo:2, ours in both",
    kind: Kind::Python(&[NS_2]),
    ours: &[NS_LEGACY, NS_2],
    store: StoreKind::File,
};
pub const OMEMO_C_2: PeerConfig = PeerConfig {
    name: "libomemo-c, omemo:2",
    kind: Kind::OmemoC(&[NS_2]),
    ours: &[NS_2],
    store: StoreKind::File,
};
pub const OMEMO_C_LEGACY: PeerConfig = PeerConfig {
    name: "libomemo-c, legacy",
    kind: Kind::OmemoC(&[NS_LEGACY]),
    ours: &[NS_LEGACY],
    store: StoreKind::File,
};
pub const SIGNAL_C_LEGACY: PeerConfig = PeerConfig {
    name: "libsignal-protocol-c, legacy",
    kind: Kind::SignalC,
    ours: &[NS_LEGACY],
    store: StoreKind::File,
};
pub const OMEMO_DR: PeerConfig =
    PeerConfig { name: "omemo-dr, legacy", kind: Kind::OmemoDr, ours: &[NS_LEGACY], store: StoreKind::File };

/// Makes a test of a case with each of these peers; a case is a function of a `PeerConfig`.
#[macro_export]
macro_rules! case_tests {
    ($case:ident: $($name:ident $config:ident),*) => {
        mod $case {
            use $crate::support::interop_run;
            $(
                #[test]
                fn $name() {
                    super::$case(interop_run::$config);
                }
            )*
        }
    };
}

/// Makes tests of cases with every peer.
#[macro_export]
macro_rules! with_peers {
    ($($case:ident),* $(,)?) => {$(
        case_tests!($case: python_omemo_2 PYTHON_2, python_legacy PYTHON_LEGACY, omemo_c_omemo_2 OMEMO_C_2,
            omemo_c_legacy OMEMO_C_LEGACY, signal_c_legacy SIGNAL_C_LEGACY, omemo_dr_legacy OMEMO_DR);
    )*};
}

/// Makes tests with the peers that speak legacy, for what only the legacy namespace knows.
#[macro_export]
macro_rules! with_legacy_peers {
    ($($case:ident),* $(,)?) => {$(
        case_tests!($case: python_legacy PYTHON_LEGACY, omemo_c_legacy OMEMO_C_LEGACY, signal_c_legacy SIGNAL_C_LEGACY,
            omemo_dr_legacy OMEMO_DR);
    )*};
}

/// Makes tests with the peers that know devices and trust, and can begin a session again.
#[macro_export]
macro_rules! with_managing_peers {
    ($($case:ident),* $(,)?) => {$(
        case_tests!($case: python_omemo_2 PYTHON_2, python_legacy PYTHON_LEGACY, omemo_dr_legacy OMEMO_DR);
    )*};
}

/// Makes tests with python-omemo, for what only it does.
#[macro_export]
macro_rules! with_python {
    ($($case:ident),* $(,)?) => {$(
        case_tests!($case: python_omemo_2 PYTHON_2, python_legacy PYTHON_LEGACY);
    )*};
}

impl PeerConfig {
    /// What our devices are given.
    pub fn setup(self) -> Setup {
        let file = (self.store == StoreKind::File).then(StoreFile::new);
        Setup { namespaces: Some(self.ours.to_vec()), file, ..Setup::default() }
    }

    /// With stores whose records the test compares or puts back.
    pub fn with_records(self) -> PeerConfig {
        PeerConfig { store: StoreKind::Records, ..self }
    }

    /// Runs a case in a few seeds, each with new devices, so many on each side.
    pub fn each(self, case: &str, ours: usize, theirs: usize, run: impl Fn(&mut InteropRun<'_>)) {
        self.at_most(6, case, ours, theirs, run);
    }

    /// As `each`, for the heavy ones.
    pub fn heavy(self, case: &str, run: impl Fn(&mut InteropRun<'_>)) {
        self.at_most(2, case, 1, 1, run);
    }

    fn at_most(self, most: u64, case: &str, ours: usize, theirs: usize, run: impl Fn(&mut InteropRun<'_>)) {
        let mut peer = Peer::start(self.kind);
        seeds::at_most(&format!("{case} ({})", self.name), most, |seed| {
            let setups = (0..ours).map(|_| self.setup()).collect();
            run(&mut InteropRun::with(&mut peer, self, seed, setups, theirs));
        });
    }
}

/// Everybody is online and has each other's device lists.
pub struct InteropRun<'p> {
    pub world: World,
    pub config: PeerConfig,
    pub seed: u64,
    pub peer: &'p mut Peer,
    pub ours: Vec<Client>,
    pub theirs: Vec<&'static str>,
}

impl<'p> InteropRun<'p> {
    pub fn with(peer: &'p mut Peer, config: PeerConfig, seed: u64, ours: Vec<Setup>, theirs: usize) -> Self {
        let world = World::new(seed);
        if seed.is_multiple_of(2) {
            world.set_answering(Answering::Later { least_ms: 5, most_ms: 90 });
        }
        peer.begin(&world, seed);
        let mut run = Self { world, config, seed, peer, ours: Vec::new(), theirs: Vec::new() };
        // Who comes first, and so who finds the other's list and who has it pushed, is the seed's.
        let ours_first = run.world.dice(2) == 0;
        let mut setups = Some(ours);
        for ours_now in [ours_first, !ours_first] {
            if ours_now {
                for setup in setups.take().expect("once") {
                    run.add_ours(setup);
                }
            } else {
                for _ in 0..theirs {
                    run.add_theirs();
                }
            }
        }
        for name in run.theirs.clone() {
            run.peer.learn(name, ROMEO);
        }
        run.quiet();
        run
    }

    /// One more device of Romeo, connected.
    pub fn add_ours(&mut self, setup: Setup) {
        let client = Client::with(&self.world, ROMEO, setup);
        client.connect().ok();
        self.ours.push(client);
    }

    /// One more device of Juliet.
    pub fn add_theirs(&mut self) {
        let name = ["j1", "j2", "j3"][self.theirs.len()];
        self.peer.device(name, JULIET);
        self.theirs.push(name);
    }

    /// Let everybody do what there is to do, until no mail and no work is left; what is read meanwhile is returned.
    pub fn exchange(&mut self) -> Mailbag {
        let mut heard =
            Mailbag { ours: vec![Vec::new(); self.ours.len()], theirs: vec![Vec::new(); self.theirs.len()] };
        for _ in 0..50 {
            settle(&self.ours.iter().collect::<Vec<_>>());
            let mut mail = 0;
            for (index, client) in self.ours.iter().enumerate() {
                let all = client.receive();
                mail += all.len();
                heard.ours[index].extend(all);
            }
            for (index, name) in self.theirs.iter().enumerate() {
                let all = self.peer.receive(name);
                mail += all.len();
                heard.theirs[index].extend(all);
            }
            if mail == 0 {
                settle(&self.ours.iter().collect::<Vec<_>>());
                if self.ours.iter().all(|client| self.world.is_empty(client.endpoint)) {
                    return heard;
                }
            }
        }
        panic!("the devices never stop talking");
    }

    /// As `exchange`, when there is nothing to read.
    #[track_caller]
    pub fn quiet(&mut self) {
        let heard = self.exchange();
        assert_eq!(heard.texts(), (vec![Vec::new(); self.ours.len()], vec![Vec::new(); self.theirs.len()]));
    }

    /// Let our devices finish their work, and lose all that lies on the way to Juliet.
    pub fn lose_to_them(&self) {
        settle(&self.ours.iter().collect::<Vec<_>>());
        for name in &self.theirs {
            self.world.lose_inbox(self.peer.endpoint(name));
        }
    }

    /// Lose all that lies on the way to Romeo.
    pub fn lose_to_us(&self) {
        for client in &self.ours {
            self.world.lose_inbox(client.endpoint);
        }
    }

    /// One of our devices says something; every device of Juliet and our others must read it.
    #[track_caller]
    pub fn we_say(&mut self, index: usize, text: &str) {
        self.ours[index].say(&[JULIET], text);
        let heard = self.exchange();
        for (other, texts) in heard.texts().0.iter().enumerate() {
            let expected: &[String] = if other == index { &[] } else { &[text.to_owned()] };
            assert_eq!(texts, expected, "our device {other}: {:?}", heard.ours[other]);
        }
        for (name, texts) in self.theirs.iter().zip(heard.texts().1) {
            assert_eq!(texts, [text], "{name}: {:?}", heard.theirs);
        }
    }

    /// One of Juliet's devices says something; all others must read it.
    #[track_caller]
    pub fn they_say(&mut self, index: usize, text: &str) {
        self.peer.say(self.theirs[index], &[ROMEO], text);
        let heard = self.exchange();
        for (ours, texts) in heard.texts().0.iter().enumerate() {
            assert_eq!(texts, &[text], "our device {ours}: {:?}", heard.ours[ours]);
        }
        for (other, texts) in heard.texts().1.iter().enumerate() {
            let expected: &[String] = if other == index { &[] } else { &[text.to_owned()] };
            assert_eq!(texts, expected, "{:?}", heard.theirs);
        }
    }

    /// A text of one of our devices, encrypted and not sent.
    #[track_caller]
    pub fn we_seal_by(&self, index: usize, text: &str) -> SentStanza {
        SentStanza { stanza: self.ours[index].seal(&[JULIET], text), text: text.to_owned() }
    }

    /// Some texts of ours, encrypted and not sent.
    #[track_caller]
    pub fn we_seal(&mut self, prefix: &str, count: usize) -> Vec<SentStanza> {
        let texts = (0..count).map(|number| format!("{prefix} {number}"));
        texts.map(|text| SentStanza { stanza: self.ours[0].seal(&[JULIET], &text), text }).collect()
    }

    /// Some texts of Juliet's first device, encrypted and not sent.
    #[track_caller]
    pub fn they_seal(&mut self, prefix: &str, count: usize) -> Vec<SentStanza> {
        let texts = (0..count).map(|number| format!("{prefix} {number}"));
        texts
            .map(|text| SentStanza { stanza: self.peer.seal(self.theirs[0], &[ROMEO], &text), text })
            .collect()
    }

    /// A stanza of theirs, read by our device.
    #[track_caller]
    pub fn we_read(&self, index: usize, sealed: &SentStanza) -> Decrypted {
        let decrypted = self.ours[index].decrypt(JULIET, &sealed.stanza).expect("the stanza is dealt with");
        let why = format!("{} {}", status_name(decrypted.status), decrypted.text);
        assert_eq!(decrypted.body.as_ref(), Some(&sealed.text), "{why}");
        assert_eq!((decrypted.status, decrypted.action), (abi::OK, abi::ACTION_SHOW));
        assert_eq!(decrypted.from.as_deref(), Some(JULIET));
        decrypted
    }

    /// A stanza of ours, read by Juliet's device.
    #[track_caller]
    pub fn they_read(&mut self, index: usize, sealed: &SentStanza) {
        let heard = self.peer.decrypt(self.theirs[index], ROMEO, &sealed.stanza);
        match &heard {
            Heard::Text { text, identity, .. } => {
                assert_eq!(*text, sealed.text);
                let known = self.ours.iter().any(|client| {
                    // In Ed25519 form, or in that of Curve25519, which is how fingerprints are shown.
                    let device = client.devices("").swap_remove(0);
                    let shown = device.fingerprint.unwrap_or_default().replace(' ', "");
                    [hex(&device.identity.unwrap_or_default()), shown].contains(identity)
                });
                assert!(known, "{identity} is none of us");
            }
            _ => panic!("{:?}: {heard:?}", sealed.text),
        }
    }

    /// Both have a session and have heard of each other by it; who began is the seed's.
    #[track_caller]
    pub fn acquaint(&mut self) {
        if self.world.dice(2) == 0 {
            self.we_say(0, "hello");
            self.they_say(0, "hello yourself");
        } else {
            self.they_say(0, "hello");
            self.we_say(0, "hello yourself");
        }
    }
}

/// A text and the stanza that carries it.
#[derive(Clone, Debug)]
pub struct SentStanza {
    pub stanza: String,
    pub text: String,
}

impl SentStanza {
    /// Whether the stanza carries a key exchange, for whomever.
    pub fn is_key_exchange(&self) -> bool {
        self.stanza.contains(" kex=") || self.stanza.contains(" prekey=")
    }
}

/// What everybody made of the mail of one exchange.
pub struct Mailbag {
    pub ours: Vec<Vec<Decrypted>>,
    pub theirs: Vec<Vec<Heard>>,
}

impl Mailbag {
    /// The texts, ours and theirs. A failure that is not "for another device" fails the test.
    #[track_caller]
    pub fn texts(&self) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
        let ours = self.ours.iter().map(|all| {
            all.iter()
                .filter_map(|decrypted| {
                    assert_ne!(decrypted.action, abi::ACTION_WARN, "{decrypted:?}");
                    decrypted.body.clone()
                })
                .collect()
        });
        let theirs = self.theirs.iter().map(|all| {
            all.iter()
                .filter_map(|heard| match heard {
                    Heard::Text { text, .. } => Some(text.clone()),
                    Heard::Empty => None,
                    Heard::Failed { class, .. } if class == "MessageNotForUs" => None,
                    Heard::Failed { .. } => panic!("{heard:?}"),
                })
                .collect()
        });
        (ours.collect(), theirs.collect())
    }

    /// How many messages without content the peer read.
    pub fn empty_ones(&self) -> usize {
        self.theirs.iter().flatten().filter(|heard| **heard == Heard::Empty).count()
    }
}
