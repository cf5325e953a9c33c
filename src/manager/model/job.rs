//! Something that the background worker does.

use super::address::SessionAddress;
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;

/// See the module. In the order in which jobs of the same moment begin.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::manager) enum Job {
    /// Compare what the server has of this device with what ought to stand there.
    Reconcile,
    /// Replace this device's bundle.
    PublishBundle(Namespace),
    /// Put this device on this account's list.
    PublishList(Namespace),
    /// Take an id that is not ours any more off this account's list, and delete its bundle.
    PurgeId(Namespace),
    /// Send the empty message with this number.
    Send(u64),
    /// Fetch the list of a JID.
    FetchList(Namespace, BareJid),
    /// Fetch the bundle of a device, whose messages show another key than the known one.
    FetchBundle(SessionAddress),
    /// Begin a session with a device that uses one we do not have.
    Repair(SessionAddress),
    /// Replace a session on which the messages of a device cannot be decrypted.
    Heal(SessionAddress),
}

impl Job {
    /// Returns whose job it is, if messages cause it.
    pub(in crate::manager) fn jid(&self) -> Option<&BareJid> {
        match self {
            Job::FetchList(_, jid) => Some(jid),
            Job::FetchBundle(at) | Job::Repair(at) | Job::Heal(at) => Some(&at.jid),
            _ => None,
        }
    }

    /// Returns whether it waits until all messages that waited on the server are read: what they cause may be done once for many.
    pub(in crate::manager) fn waits_for_catch_up(&self) -> bool {
        matches!(self, Job::Send(_) | Job::Repair(_) | Job::Heal(_))
    }

    /// Returns the name in the log.
    pub(in crate::manager) fn name(&self) -> &'static str {
        match self {
            Job::Reconcile => "reconcile",
            Job::PublishBundle(_) => "publish bundle",
            Job::PublishList(_) => "publish device list",
            Job::PurgeId(_) => "purge device id",
            Job::Send(_) => "send empty message",
            Job::FetchList(..) => "fetch device list",
            Job::FetchBundle(_) => "fetch bundle",
            Job::Repair(_) => "repair session",
            Job::Heal(_) => "replace session",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::address::DeviceId;
    use Namespace::Legacy;

    #[test]
    fn a_job_has_a_name_of_its_own_and_the_jid_that_it_is_for() {
        let jid = BareJid::from_normalized("romeo@montague.lit");
        let at = SessionAddress { jid: jid.clone(), device: DeviceId::new(1).unwrap(), namespace: Legacy };
        let jobs = [
            (Job::Reconcile, "reconcile", None),
            (Job::PublishBundle(Legacy), "publish bundle", None),
            (Job::PublishList(Legacy), "publish device list", None),
            (Job::PurgeId(Legacy), "purge device id", None),
            (Job::Send(1), "send empty message", None),
            (Job::FetchList(Legacy, jid.clone()), "fetch device list", Some(&jid)),
            (Job::FetchBundle(at.clone()), "fetch bundle", Some(&jid)),
            (Job::Repair(at.clone()), "repair session", Some(&jid)),
            (Job::Heal(at), "replace session", Some(&jid)),
        ];
        for (job, name, whose) in jobs {
            assert_eq!((job.name(), job.jid()), (name, whose));
        }
    }
}
