//! Another implementation of OMEMO in a process of its own, its devices being endpoints of a `World` like any client.
//!
//! Which one is in the process, and what it speaks, is a `Kind`; all of them are driven by the same plain records. This
//! module knows the records, and nothing of what is in a stanza.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::world::{Mail, World};
use super::{NS_2, NS_LEGACY};

/// Who is in the process, and the namespaces its devices speak unless told otherwise, the most preferred first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Python(&'static [&'static str]),
    OmemoC(&'static [&'static str]),
    /// libsignal-protocol-c: it knows the legacy namespace only.
    SignalC,
    /// omemo-dr, in the legacy namespace, as its clients use it.
    OmemoDr,
}

impl Kind {
    pub fn namespaces(self) -> &'static [&'static str] {
        match self {
            Self::Python(namespaces) | Self::OmemoC(namespaces) => namespaces,
            Self::SignalC | Self::OmemoDr => &[NS_LEGACY],
        }
    }

    /// As libsignal's children do: they keep old sessions, and say that the chain before was one shorter than it was.
    pub fn is_signal(self) -> bool {
        !matches!(self, Self::Python(_))
    }

    fn command(self) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let driver = |name: &str| Command::new(root.join("target/interop").join(name));
        let script = |name: &str| {
            let mut command = Command::new(python());
            command.arg(root.join("tests/interop").join(name)).env("PYTHONHASHSEED", "0");
            command
        };
        match self {
            Self::Python(_) => script("peer_python.py"),
            Self::OmemoDr => script("peer_omemo_dr.py"),
            Self::OmemoC(_) => driver("peer_omemo_c"),
            Self::SignalC => driver("peer_signal_c"),
        }
    }
}

/// What the peer made of a stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A text, and the level name of its sender.
    Text { text: String, level: String, identity: String },
    /// A message without content.
    Empty,
    /// The class of the exception, and of its cause.
    Failed { class: String, cause: String, why: String },
}

/// A record: fields by name; a list is a name that comes several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record(Vec<(String, String)>);

impl Record {
    /// A request.
    pub fn new(command: &str) -> Self {
        Self::default().with("do", command)
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.0.push((name.to_owned(), value.to_string()));
        self
    }

    #[must_use]
    pub fn with_all(self, name: &str, values: &[&str]) -> Self {
        values.iter().fold(self, |record, value| record.with(name, value))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|field| field.0 == name).map(|field| field.1.as_str())
    }

    /// The text of a field, "" where there is none.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|field| field.0 == name).map(|field| field.1.clone()).collect()
    }

    /// The number in a field, 0 where there is none.
    fn number(&self, name: &str) -> u32 {
        self.text(name).parse().unwrap_or_default()
    }
}

struct Place {
    endpoint: usize,
    namespaces: Vec<&'static str>,
}

/// The process. One may serve many cases; `begin` forgets the devices of the last.
pub struct Peer {
    pub kind: Kind,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    world: World,
    places: BTreeMap<String, Place>,
    /// Levels for `decide`, for devices that ask; "trusted" where nothing stands.
    pub levels: BTreeMap<u32, String>,
    /// Trust requests so far: who asked is not told.
    pub decided: u64,
}

/// The interpreter of the virtual environment: `OMEMO_PYTHON`, else the one below `target/venv`.
pub fn python() -> PathBuf {
    std::env::var_os("OMEMO_PYTHON")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python"))
}

impl Peer {
    pub fn start(kind: Kind) -> Self {
        let mut command = kind.command();
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap_or_else(|error| {
                panic!("{command:?}: {error}; scripts/test interop makes what is missing")
            });
        let input = child.stdin.take().expect("its standard input");
        let output = BufReader::new(child.stdout.take().expect("its standard output"));
        Self {
            kind,
            child,
            input,
            output,
            world: World::new(0),
            places: BTreeMap::new(),
            levels: BTreeMap::new(),
            decided: 0,
        }
    }

    /// A new case: a new world, no devices, all draws from this seed.
    pub fn begin(&mut self, world: &World, seed: u64) {
        self.world = world.clone();
        self.places.clear();
        self.levels.clear();
        self.decided = 0;
        self.must(Record::new("forget"));
        self.must(Record::new("seed").with("seed", seed));
    }

    // -- the wire to the process

    /// A request, its requests about PEP answered from the world.
    #[track_caller]
    pub fn request(&mut self, request: Record) -> Record {
        self.send(&request);
        loop {
            let record =
                self.read_record().unwrap_or_else(|why| panic!("the peer: {why}, after {request:?}"));
            if record.get("done").is_some() {
                return record;
            }
            let answer = self.answer(&record);
            self.send(&answer);
        }
    }

    fn send(&mut self, record: &Record) {
        let mut bytes = Vec::new();
        for (name, value) in &record.0 {
            bytes.extend_from_slice(format!("{name} {}\n{value}\n", value.len()).as_bytes());
        }
        bytes.push(b'\n');
        self.input.write_all(&bytes).and_then(|()| self.input.flush()).expect("the peer reads");
    }

    fn read_record(&mut self) -> Result<Record, String> {
        let mut record = Record::default();
        loop {
            let mut head = String::new();
            self.output.read_line(&mut head).map_err(|error| error.to_string())?;
            if head == "\n" {
                return Ok(record);
            }
            let (name, len) = head.trim_end().split_once(' ').ok_or(format!("died, or wrote {head:?}"))?;
            let len: usize = len.parse().map_err(|_| format!("wrote {head:?}"))?;
            let mut value = vec![0; len + 1];
            self.output.read_exact(&mut value).map_err(|error| error.to_string())?;
            value.pop();
            record.0.push((name.to_owned(), String::from_utf8(value).map_err(|error| error.to_string())?));
        }
    }

    fn answer(&mut self, request: &Record) -> Record {
        let (ns, jid) = (request.text("ns"), request.text("jid"));
        let (device, xml) = (request.number("device"), request.text("xml"));
        let found = |xml: Option<String>| match xml {
            Some(xml) => Record::default().with("xml", xml),
            None => Record::default().with("missing", 1),
        };
        match request.text("ask") {
            "fetch_list" => return found(self.world.list(ns, jid)),
            "fetch_bundle" => return found(self.world.bundle(ns, jid, device)),
            "publish_list" => self.world.publish_list(ns, jid, xml),
            "publish_bundle" => self.world.publish_bundle(ns, jid, device, xml),
            "delete_bundle" => self.world.delete_bundle(ns, jid, device),
            "decide" => {
                self.decided += 1;
                let level = self.levels.get(&device).map_or("trusted", String::as_str);
                return Record::default().with("level", level);
            }
            other => panic!("the peer asks {other:?}"),
        }
        Record::default().with("ok", 1)
    }

    /// A request that cannot fail.
    #[track_caller]
    pub fn must(&mut self, request: Record) -> Record {
        let answer = self.request(request.clone());
        assert!(answer.get("failed").is_none(), "{request:?}: {answer:?}");
        answer
    }

    // -- devices

    /// A new device that speaks what the peer speaks, online, with an inbox in the world. Its device id.
    #[track_caller]
    pub fn device(&mut self, name: &str, jid: &str) -> u32 {
        self.device_with(name, jid, self.kind.namespaces(), &[])
    }

    /// The same, but trust is decided by `levels`.
    #[track_caller]
    pub fn careful_device(&mut self, name: &str, jid: &str) -> u32 {
        self.device_with(name, jid, self.kind.namespaces(), &[("ask_trust", "1")])
    }

    /// The same as `device`, but it stays in history synchronisation.
    #[track_caller]
    pub fn device_in_history(&mut self, name: &str, jid: &str) -> u32 {
        self.device_with(name, jid, self.kind.namespaces(), &[("history", "1")])
    }

    /// A new device that speaks these namespaces, with further fields of the request.
    #[track_caller]
    pub fn device_with(
        &mut self,
        name: &str,
        jid: &str,
        namespaces: &[&'static str],
        options: &[(&str, &str)],
    ) -> u32 {
        let place = Place { endpoint: self.world.join(jid), namespaces: namespaces.to_vec() };
        self.places.insert(name.to_owned(), place);
        let request = Record::new("device").with("name", name).with("jid", jid).with_all("ns", namespaces);
        let request = options.iter().fold(request, |request, (name, value)| request.with(name, value));
        let id = self.must(request).number("device");
        assert_ne!(id, 0, "a device id");
        id
    }

    /// The lists of a JID as if pushed to this device (a device that joins late has missed some).
    #[track_caller]
    pub fn learn(&mut self, name: &str, jid: &str) {
        for ns in self.places[name].namespaces.clone() {
            if let Some(xml) = self.world.list(ns, jid) {
                self.push(name, ns, jid, &xml);
            }
        }
    }

    /// A device list came by PEP; one of a namespace that the device does not speak does not reach it.
    #[track_caller]
    pub fn push(&mut self, name: &str, ns: &str, jid: &str, xml: &str) {
        if self.places[name].namespaces.contains(&ns) {
            let request = self.about("push", name).with("ns", ns).with("jid", jid).with("xml", xml);
            self.must(request);
        }
    }

    fn about(&self, command: &str, name: &str) -> Record {
        Record::new(command).with("name", name)
    }

    /// Close and open on the same store.
    #[track_caller]
    pub fn restart(&mut self, name: &str) {
        self.must(self.about("restart", name));
    }

    /// Close and open on the same store, in history synchronisation until `live`.
    #[track_caller]
    pub fn restart_in_history(&mut self, name: &str) {
        self.must(self.about("restart", name).with("history", 1));
    }

    /// Keeps a copy of what the device has stored, for `set_back`.
    #[track_caller]
    pub fn save(&mut self, name: &str) {
        self.must(self.about("save", name));
    }

    /// Close, and open on the copy that was kept last.
    #[track_caller]
    pub fn set_back(&mut self, name: &str) {
        self.must(self.about("set_back", name));
    }

    /// The clock of the process goes on by so many days, and the device starts again, which has its keys rotated.
    #[track_caller]
    pub fn start_days_later(&mut self, name: &str, days: u32) {
        self.must(self.about("start_later", name).with("seconds", days * 86_400));
    }

    /// Sets the label of a device, or takes it away; its lists are published.
    #[track_caller]
    pub fn set_label(&mut self, name: &str, label: Option<&str>) {
        let request = self.about("label", name);
        self.must(match label {
            Some(label) => request.with("label", label),
            None => request,
        });
    }

    /// The verified labels of a JID's devices, as a device knows them.
    #[track_caller]
    pub fn labels(&mut self, name: &str, jid: &str) -> BTreeMap<u32, String> {
        let answer = self.must(self.about("labels", name).with("jid", jid));
        let ids = answer.all("device").into_iter().map(|id| id.parse().expect("an id"));
        ids.zip(answer.all("label")).collect()
    }

    /// The archive is read: queued answers go out.
    #[track_caller]
    pub fn live(&mut self, name: &str) {
        self.must(self.about("live", name));
        self.flush(name);
    }

    #[track_caller]
    pub fn set_trust(&mut self, name: &str, jid: &str, identity: &[u8], level: &str) {
        let request = self.about("trust", name).with("jid", jid);
        self.must(request.with("identity", hex(identity)).with("level", level));
    }

    /// A new session with a device; the key exchange goes out as an empty message.
    #[track_caller]
    pub fn replace(&mut self, name: &str, jid: &str, device: u32) {
        let answer = self.must(self.about("replace", name).with("jid", jid).with("device", device));
        assert_eq!(answer.all("error"), [""; 0], "the peer replaces the session");
        self.flush(name);
    }

    /// The next messages of this device, empty ones too, are lost.
    pub fn lose(&mut self, name: &str, count: u64) {
        self.must(self.about("lose", name).with("count", count));
    }

    /// Length of the sending chain with a device in the first of its namespaces; none without a session.
    pub fn sending_chain(&mut self, name: &str, jid: &str, device: u32) -> Option<u64> {
        let ns = self.places[name].namespaces[0];
        let request = self.about("chain", name).with("jid", jid).with("device", device).with("ns", ns);
        self.must(request).get("length").and_then(|length| length.parse().ok())
    }

    /// What a device knows of a JID: ids and identities, in the order of ids.
    pub fn known(&mut self, name: &str, jid: &str) -> Vec<(u32, String)> {
        let answer = self.must(self.about("devices", name).with("jid", jid));
        let rows = answer.all("device");
        rows.iter()
            .map(|row| {
                let mut fields = row.split(' ');
                let id = fields.next().and_then(|id| id.parse().ok()).expect("an id");
                (id, fields.next().expect("an identity").to_owned())
            })
            .collect()
    }

    // -- messages

    /// Encrypt, one stanza for each namespace that is needed; `Err` is the class of the exception.
    pub fn encrypt(&mut self, name: &str, to: &[&str], text: &str) -> Result<Vec<String>, String> {
        self.read_lists(name);
        let answer = self.request(self.about("encrypt", name).with_all("to", to).with("text", text));
        match answer.get("failed") {
            Some(class) => Err(class.to_owned()),
            None => Ok(answer.all("xml")),
        }
    }

    /// Encrypt what must succeed, as one stanza, and do not send it.
    #[track_caller]
    pub fn seal(&mut self, name: &str, to: &[&str], text: &str) -> String {
        let mut stanzas =
            self.encrypt(name, to, text).unwrap_or_else(|class| panic!("the peer encrypts: {class}"));
        assert_eq!(stanzas.len(), 1, "one namespace, one stanza");
        stanzas.remove(0)
    }

    /// Encrypt and send. The stanzas that were sent.
    #[track_caller]
    pub fn say(&mut self, name: &str, to: &[&str], text: &str) -> Vec<String> {
        let stanzas =
            self.encrypt(name, to, text).unwrap_or_else(|class| panic!("the peer encrypts: {class}"));
        for xml in &stanzas {
            self.world.post(self.places[name].endpoint, to, xml);
        }
        stanzas
    }

    /// Decrypt; empty messages that the peer wants sent are posted.
    pub fn decrypt(&mut self, name: &str, from: &str, xml: &str) -> Heard {
        let answer = self.request(self.about("decrypt", name).with("sender", from).with("xml", xml));
        self.flush(name);
        let text = |field: &str| answer.text(field).to_owned();
        match (answer.get("ok"), answer.get("text")) {
            (Some("1"), Some(body)) => {
                Heard::Text { text: body.to_owned(), level: text("level"), identity: text("identity") }
            }
            (Some("1"), None) => Heard::Empty,
            _ => Heard::Failed {
                class: answer.get("class").unwrap_or(answer.text("failed")).to_owned(),
                cause: text("cause"),
                why: text("why"),
            },
        }
    }

    /// Whether a device speaks the namespace of a stanza; if not, it does not look at it.
    pub fn understands(&self, name: &str, xml: &str) -> bool {
        self.places[name].namespaces.contains(&namespace_of(xml))
    }

    /// Take everything from the inbox: lists are pushed, stanzas decrypted, those of namespaces that the device does
    /// not speak passed over.
    pub fn receive(&mut self, name: &str) -> Vec<Heard> {
        let mut all = Vec::new();
        while let Some(mail) = self.world.take(self.places[name].endpoint) {
            match mail {
                Mail::DeviceList { ns, jid, xml } => {
                    self.push(name, &ns, &jid, &xml);
                    self.flush(name);
                }
                Mail::Stanza { from, xml } => {
                    if self.understands(name, &xml) {
                        all.push(self.decrypt(name, &from, &xml));
                    }
                }
            }
        }
        all
    }

    /// Take everything and return the texts. Answers to another device of the account come here as well, and are
    /// passed over.
    #[track_caller]
    pub fn read(&mut self, name: &str) -> Vec<String> {
        self.receive(name)
            .into_iter()
            .filter_map(|heard| match heard {
                Heard::Text { text, .. } => Some(text),
                Heard::Empty => None,
                Heard::Failed { class, .. } if class == "MessageNotForUs" => None,
                Heard::Failed { class, cause, why } => panic!("{name}: {class} ({cause}): {why}"),
            })
            .collect()
    }

    /// Only the pushed lists: they come by another way than stanzas and overtake them.
    fn read_lists(&mut self, name: &str) {
        let endpoint = self.places[name].endpoint;
        let mut stanzas = Vec::new();
        while let Some(mail) = self.world.take(endpoint) {
            match mail {
                Mail::DeviceList { ns, jid, xml } => self.push(name, &ns, &jid, &xml),
                stanza => stanzas.push(stanza),
            }
        }
        self.world.put_back(endpoint, stanzas);
        self.flush(name);
    }

    /// The address of a device in the world.
    pub fn endpoint(&self, name: &str) -> usize {
        self.places[name].endpoint
    }

    /// Post the empty messages that the peer wants sent.
    fn flush(&mut self, name: &str) {
        let answer = self.must(self.about("outbox", name));
        for (jid, xml) in answer.all("jid").iter().zip(answer.all("xml")) {
            self.world.post_only(self.places[name].endpoint, jid, &xml);
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The namespace of an `<encrypted/>`: the one its first tag names.
pub fn namespace_of(xml: &str) -> &'static str {
    let tag = xml.split('>').next().unwrap_or_default();
    if tag.contains(NS_LEGACY) { NS_LEGACY } else { NS_2 }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
