//! How an operation ended: its status, a row for each device, JID or namespace, and what is to be sent.

use crate::error::{Error, Status};
use crate::protocol::address::BareJid;
use crate::protocol::message::Message;
use crate::protocol::namespace::Namespace;
use crate::protocol::payload::KeyParts;

/// What became of one device, of a whole JID, or of a namespace of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose; `None`: the account's namespace as such.
    pub jid: Option<BareJid>,
    /// Which device; 0: the whole JID.
    pub device: u32,
    /// Where; `None`: in all namespaces.
    pub namespace: Option<Namespace>,
    /// What happened; its sentence is its own text.
    pub error: Error,
}

/// The end of an operation. The report is there when it failed, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub error: Error,
    /// Which chat this was about.
    pub context: Option<String>,
    /// The report.
    pub rows: Vec<Row>,
    /// What is to be sent: at most one message for each namespace, none without keys.
    pub messages: Vec<Message>,
    /// The keys that these transport, each that of the message with its index; none if they have content.
    pub keys: Vec<KeyParts>,
}

impl Outcome {
    /// An end with nothing to report.
    pub fn bare(error: impl Into<Error>) -> Outcome {
        let (rows, messages, keys) = (Vec::new(), Vec::new(), Vec::new());
        Outcome { error: error.into(), context: None, rows, messages, keys }
    }

    /// An end with these rows; its status is that of the first one that failed.
    pub(in crate::manager) fn of_rows(rows: Vec<Row>) -> Outcome {
        let failed = rows.iter().map(|row| &row.error).find(|error| error.status() != Status::Ok).cloned();
        Outcome { rows, ..Outcome::bare(failed.unwrap_or_else(|| Status::Ok.into())) }
    }

    /// How it ended.
    pub fn status(&self) -> Status {
        self.error.status()
    }
}
