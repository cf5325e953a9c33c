//! The flows: each is a script of steps that Romeo's client goes through, and nothing but data.

use omemo::manager::api::keep::Keep;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};

/// Whose devices a step is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Who {
    Own,
    Juliet,
    Paris,
    /// Nobody in particular: with sessions, those with everybody.
    All,
}

/// One thing that happens. Whatever has no name in it is done by Romeo's device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    Connect,
    ConnectForCatchUp,
    EndCatchUp,
    Disconnect,
    /// The process ends and starts again, offline.
    Restart,
    /// The same, and from now on these namespaces are spoken.
    Serve(&'static [Namespace]),
    /// Calls all getters.
    Look,
    /// A text to Juliet, which must be sent when nothing fails.
    Say,
    /// A text to Juliet with what is stored; it may reach nobody.
    SayNow,
    /// A text to all in a room.
    SayRoom,
    /// A text to the raw device of Paris; it may reach nobody.
    SayParis,
    /// Juliet says something, which is read.
    Hear,
    /// The same, and it comes twice.
    HearTwice,
    /// Juliet says something, and somebody changed it on the way.
    HearForged,
    /// Juliet says so many things, of which the last one comes first.
    HearSkipped(usize),
    /// Juliet says so many things in a row.
    HearMany(usize),
    /// Somebody whom nobody knows begins a session.
    HearStranger,
    /// Both begin a session before either has read anything.
    Cross,
    Refresh(Who),
    /// All keys of Juliet get this level.
    Trust(&'static str),
    /// The raw device of Paris shows another key from now on.
    SwapParis,
    AcceptParis,
    /// The raw device of Paris says something with the key that it has now.
    HearParis,
    /// Another device joins Juliet's list, or leaves it.
    LaptopJoins,
    LaptopLeaves,
    /// A foreign device joins the own list, or leaves it.
    ForeignJoins,
    ForeignLeaves,
    ServerLosesList,
    ServerLosesBundle,
    /// Sets a label; a foreign device joins while the list is on its way.
    CrossingLabel(&'static str),
    Label(Option<&'static str>),
    Ensure,
    ClearLists,
    RemovePhone,
    ResetIdentity,
    DeleteAccount,
    Health(Who),
    Purge(Keep),
    Replace(Who),
    JulietLosesSessions,
    /// The process ends and starts again; from now on content is kept until it is acknowledged.
    Acknowledge,
    /// Juliet says something, which is read; the process ends before the client has stored it.
    HearAndCrash,
    /// Romeo's client takes what was kept.
    TakeKept,
    Minutes(u64),
    Days(u64),
}

/// What there is before the first step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// Romeo's store is empty.
    Nothing,
    /// Both accounts exist.
    Strangers,
    /// Both have used a session.
    Friends,
    /// The same, and Romeo has another device.
    FriendsWithPhone,
    /// As strangers; keys that nobody has judged are undecided, and somebody answers requests about trust.
    Careful,
}

/// A script.
pub struct Flow {
    pub name: &'static str,
    pub namespaces: &'static [Namespace],
    pub start: Start,
    pub steps: &'static [Step],
}

use Start::{Careful, Friends, FriendsWithPhone, Nothing, Strangers};
use Step::*;

const TWO: &[Namespace] = &[Omemo2];
const OLD: &[Namespace] = &[Legacy];
const BOTH: &[Namespace] = &[Omemo2, Legacy];

const fn flow(
    name: &'static str,
    namespaces: &'static [Namespace],
    start: Start,
    steps: &'static [Step],
) -> Flow {
    Flow { name, namespaces, start, steps }
}

const CREATE: &[Step] = &[Look, Connect, Look, Say, Hear, Say, Refresh(Who::Own), Disconnect, Connect, Hear];
const TALK: &[Step] = &[Look, Say, Hear, Say, Hear, Say, Say, Hear, Hear, Say, Look, Hear];
const FIRST: &[Step] =
    &[Hear, Hear, Hear, Say, Hear, Minutes(2), Hear, Say, Disconnect, Connect, Hear, Minutes(2)];

/// All flows, by the list of the test programme; what does not exist yet (import, schemas) is replaced by what does.
pub const FLOWS: &[Flow] = &[
    flow("create-account", TWO, Nothing, CREATE),
    flow("create-account-legacy", OLD, Nothing, CREATE),
    flow("create-account-both", BOTH, Nothing, CREATE),
    flow("open", BOTH, Friends, OPEN),
    flow("streams", TWO, Friends, STREAMS),
    flow("rotation", OLD, Friends, ROTATION),
    flow("refill", TWO, Strangers, REFILL),
    flow("own-list", TWO, FriendsWithPhone, OWN_LIST),
    flow("contact-list", OLD, Friends, CONTACT_LIST),
    flow("fetch-bundles", TWO, Strangers, FETCH),
    flow("session", TWO, Strangers, TALK),
    flow("session-legacy", OLD, Strangers, TALK),
    flow("session-both", BOTH, Strangers, TALK),
    flow("room", TWO, Strangers, ROOM),
    flow("undecided", TWO, Careful, UNDECIDED),
    flow("first-messages", TWO, Strangers, FIRST),
    flow("first-messages-legacy", OLD, Strangers, FIRST),
    flow("next-messages", TWO, Friends, NEXT),
    flow("skipped", OLD, Friends, SKIPPED),
    flow("duplicates", TWO, Friends, DUPLICATES),
    flow("garbage", OLD, Friends, GARBAGE),
    flow("heartbeat", TWO, Friends, HEARTBEAT),
    flow("trust", TWO, Friends, TRUST),
    flow("catch-up", TWO, Friends, CATCH_UP),
    flow("outbox", OLD, Strangers, OUTBOX),
    flow("replace-sessions", TWO, Friends, REPLACE),
    flow("crossing-sessions", OLD, Strangers, CROSSING),
    flow("accept-identity", TWO, Friends, ACCEPT),
    flow("label", BOTH, Friends, LABEL),
    flow("crossing-lists", TWO, Friends, CROSSING_LISTS),
    flow("ensure-consistency", OLD, Friends, ENSURE),
    flow("clear-device-lists", TWO, FriendsWithPhone, CLEAR),
    flow("remove-own-device", TWO, FriendsWithPhone, REMOVE),
    flow("reset-identity", TWO, FriendsWithPhone, RESET),
    flow("delete-account", OLD, FriendsWithPhone, DELETE),
    flow("purge-jid", TWO, Friends, PURGE),
    flow("purge-namespace", BOTH, Friends, LEAVE),
    flow("acknowledged", TWO, Friends, ACKNOWLEDGED),
    flow("acknowledged-legacy", OLD, Friends, ACKNOWLEDGED),
    flow("health", TWO, FriendsWithPhone, HEALTH),
];

const ACKNOWLEDGED: &[Step] = &[
    Acknowledge,
    Hear,
    HearAndCrash,
    TakeKept,
    Connect,
    HearSkipped(3),
    HearAndCrash,
    HearAndCrash,
    Say,
    TakeKept,
    Hear,
    Look,
];
const OPEN: &[Step] = &[Restart, Look, Hear, Connect, Say, Hear, Restart, Connect, Look, Say, Hear];
const STREAMS: &[Step] = &[
    Disconnect,
    SayNow,
    Hear,
    Connect,
    Hear,
    Disconnect,
    Connect,
    Refresh(Who::Own),
    Say,
    Disconnect,
    Connect,
    Hear,
    Say,
];
const ROTATION: &[Step] = &[
    Say,
    Days(7),
    Hear,
    Say,
    Minutes(2),
    Days(7),
    Hear,
    Refresh(Who::Juliet),
    Say,
    Restart,
    Connect,
    Days(1),
    Hear,
];
const REFILL: &[Step] = &[
    HearStranger,
    Minutes(2),
    HearStranger,
    HearStranger,
    Minutes(2),
    Say,
    Hear,
    HearStranger,
    Minutes(5),
    Ensure,
    Say,
    Hear,
];
const OWN_LIST: &[Step] = &[
    ForeignJoins,
    Look,
    Say,
    ForeignLeaves,
    Minutes(2),
    ServerLosesList,
    Disconnect,
    Connect,
    Minutes(2),
    ForeignJoins,
    Refresh(Who::Own),
    Say,
];
const CONTACT_LIST: &[Step] = &[
    LaptopJoins,
    Look,
    Say,
    LaptopLeaves,
    Say,
    Refresh(Who::Juliet),
    LaptopJoins,
    SayNow,
    Say,
    LaptopLeaves,
    Look,
    Hear,
];
const FETCH: &[Step] = &[
    Refresh(Who::Juliet),
    Look,
    Trust("trusted"),
    LaptopJoins,
    Refresh(Who::Juliet),
    Minutes(15),
    Say,
    Hear,
    Refresh(Who::Juliet),
    Say,
    Look,
];
const ROOM: &[Step] =
    &[SayRoom, Hear, SayRoom, Minutes(1), SayRoom, Say, Hear, SayRoom, Disconnect, Connect, SayRoom, Look];
const UNDECIDED: &[Step] = &[
    Refresh(Who::Juliet),
    Look,
    Say,
    Trust("undecided"),
    Say,
    Trust("distrusted"),
    SayNow,
    Trust("trusted"),
    Say,
    Hear,
    Trust("undecided"),
    SayNow,
    Say,
];
const NEXT: &[Step] =
    &[Hear, Say, Hear, Hear, Say, Minutes(61), Say, Hear, Say, Refresh(Who::Juliet), Hear, Say, Hear];
const SKIPPED: &[Step] =
    &[HearSkipped(60), Say, HearSkipped(20), Look, Hear, Say, HearSkipped(5), Hear, Say, HearSkipped(2)];
const DUPLICATES: &[Step] =
    &[HearTwice, Say, HearTwice, HearTwice, Restart, Connect, HearTwice, Say, Hear, HearTwice, Look];
const GARBAGE: &[Step] = &[
    HearForged, Hear, HearForged, HearForged, Say, Disconnect, Connect, HearForged, Hear, Say, HearForged,
    Hear,
];
const HEARTBEAT: &[Step] =
    &[HearMany(20), Look, HearMany(32), Minutes(1), HearMany(4), Say, Hear, Look, Say, Minutes(2), Hear];
const TRUST: &[Step] = &[
    Trust("distrusted"),
    SayNow,
    Trust("undecided"),
    SayNow,
    Look,
    Trust("custom friend"),
    Say,
    Hear,
    Disconnect,
    Connect,
    Look,
    Trust("trusted"),
    Say,
];
const CATCH_UP: &[Step] = &[
    Disconnect,
    ConnectForCatchUp,
    HearMany(30),
    HearStranger,
    Say,
    EndCatchUp,
    Hear,
    Restart,
    ConnectForCatchUp,
    Hear,
    HearStranger,
    EndCatchUp,
    Say,
];
const OUTBOX: &[Step] = &[
    Disconnect,
    Hear,
    HearStranger,
    Restart,
    Look,
    Connect,
    Minutes(2),
    Disconnect,
    Hear,
    HearStranger,
    Connect,
    Minutes(2),
    Hear,
    Say,
];
const REPLACE: &[Step] = &[
    Replace(Who::Juliet),
    Hear,
    Say,
    JulietLosesSessions,
    Replace(Who::All),
    Say,
    Hear,
    Minutes(2),
    Replace(Who::Juliet),
    Say,
    Hear,
    Look,
];
const CROSSING: &[Step] = &[
    Cross,
    Say,
    Hear,
    Minutes(2),
    Say,
    Replace(Who::Juliet),
    Cross,
    Hear,
    Say,
    Hear,
    Disconnect,
    Connect,
    Say,
];
const ACCEPT: &[Step] = &[
    Refresh(Who::Paris),
    SwapParis,
    SayParis,
    Look,
    AcceptParis,
    SayParis,
    SwapParis,
    HearParis,
    Minutes(1),
    AcceptParis,
    SayParis,
    Say,
    Hear,
];
const LABEL: &[Step] = &[
    Label(Some("phone")),
    Look,
    Minutes(2),
    Label(None),
    Restart,
    Label(Some("tablet")),
    Connect,
    Minutes(2),
    Label(Some("laptop")),
    Say,
    Hear,
    Look,
];
const CROSSING_LISTS: &[Step] = &[
    CrossingLabel("phone"),
    Minutes(2),
    Look,
    ForeignLeaves,
    Minutes(2),
    CrossingLabel("tablet"),
    Say,
    ForeignLeaves,
    Disconnect,
    Connect,
    Minutes(2),
    Hear,
];
const ENSURE: &[Step] = &[
    Ensure,
    ServerLosesList,
    Ensure,
    Minutes(2),
    ServerLosesBundle,
    Ensure,
    Say,
    Minutes(2),
    ServerLosesBundle,
    ServerLosesList,
    Ensure,
    Hear,
];
const CLEAR: &[Step] = &[
    ForeignJoins,
    Look,
    ClearLists,
    Minutes(2),
    Say,
    Hear,
    ForeignLeaves,
    ClearLists,
    Minutes(2),
    Look,
    Say,
];
const REMOVE: &[Step] =
    &[Look, Say, RemovePhone, Look, Minutes(2), Say, Hear, Refresh(Who::Own), Disconnect, Connect, Say];
const RESET: &[Step] = &[
    Say,
    ResetIdentity,
    Look,
    Minutes(2),
    Say,
    Hear,
    Restart,
    Connect,
    ResetIdentity,
    Minutes(2),
    Say,
    Hear,
];
const DELETE: &[Step] = &[
    Say,
    Hear,
    DeleteAccount,
    Restart,
    Look,
    Connect,
    Say,
    Hear,
    Minutes(2),
    DeleteAccount,
    Restart,
    Connect,
    Say,
];
const PURGE: &[Step] = &[
    Trust("custom friend"),
    Purge(Keep::Trust),
    Look,
    Say,
    Hear,
    Purge(Keep::Nothing),
    Look,
    Refresh(Who::Juliet),
    Say,
    Hear,
    Minutes(2),
    Look,
];
const LEAVE: &[Step] = &[
    Say,
    Serve(OLD),
    Connect,
    Say,
    Hear,
    Minutes(2),
    Serve(BOTH),
    Connect,
    Minutes(2),
    Refresh(Who::Juliet),
    Say,
    Hear,
    Serve(TWO),
    Connect,
];
const HEALTH: &[Step] = &[
    Health(Who::Own),
    Health(Who::Juliet),
    LaptopJoins,
    Health(Who::Juliet),
    ForeignJoins,
    Health(Who::Own),
    Say,
    Hear,
    Look,
    Minutes(2),
    Health(Who::Own),
];
