//! This account's device list in one namespace as desired state: what was seen of it last, what is being published, and
//! what has to be published.
//!
//! Others write the same list. A publication that crossed a push may have overwritten what that push announced, in
//! whichever order the server took the two; it is redone from the newest list, in the next stream if this one breaks
//! before. The push of our own publication tells nothing new.

use super::super::api::request::Stamp;
use crate::protocol::device_list::DeviceList;

/// How a list came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manager) enum Arrival {
    Fetched,
    Pushed,
}

/// What became of our last publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Publication {
    /// There was none, or another list has followed it.
    #[default]
    Over,
    /// The client has not answered.
    InFlight,
    /// The server has taken it; it may still come back, pushed or fetched.
    Taken,
    /// It failed: the server may have taken it all the same, or may still take it.
    InDoubt,
    /// The server has pushed it, which it does once: the same list pushed again is somebody else's.
    Returned,
}

/// See the module.
#[derive(Default)]
pub(in crate::manager) struct OwnList {
    /// The newest list that somebody else, or we, are known to have published; `None`: it has to be fetched.
    seen: Option<(Stamp, DeviceList)>,
    /// What we published last.
    ours: Option<DeviceList>,
    publication: Publication,
    /// What we published before that, if a push crossed it and nothing else was seen since: where it stands on the
    /// server, that push is still to be restored.
    before: Option<DeviceList>,
    /// The push of that one may still come, once.
    echo_due: bool,
    /// A push came between our publication and its answer: what it announced may be lost on the server.
    crossed: bool,
    /// The stream broke while a publication was on its way: the list that ought to be restored, and the list that was being
    /// published, by which one sees whether the server took it.
    interrupted: Option<(DeviceList, DeviceList)>,
}

impl OwnList {
    /// Returns the newest list, if it is known.
    pub(in crate::manager) fn seen(&self) -> Option<&DeviceList> {
        self.seen.as_ref().map(|(_, list)| list)
    }

    /// Returns the same with its stamp.
    pub(in crate::manager) fn newest(&self) -> Option<(Stamp, DeviceList)> {
        self.seen.clone()
    }

    /// A list came, pushed or fetched. False: it is older than what was seen, or our own one.
    pub(in crate::manager) fn see(&mut self, list: &DeviceList, stamp: Stamp, arrival: Arrival) -> bool {
        // The same fact may come by two ways.
        if self.seen.as_ref().is_some_and(|(seen, _)| stamp <= *seen) {
            return false;
        }
        // A fetch shows what became of a publication that failed; the first list, of one that the stream interrupted.
        let in_doubt = self.publication == Publication::InDoubt && arrival == Arrival::Fetched;
        let lost = if in_doubt { self.lost() } else { self.interrupted.take() };
        if let Some((lost, ours)) = lost
            && ours.says_the_same(list)
        {
            (self.seen, self.ours, self.crossed) = (Some((stamp, lost)), Some(ours), true);
            self.publication = Publication::Taken;
            return true;
        }
        let (pushed, back) = (arrival == Arrival::Pushed, self.publication == Publication::Returned);
        let says_the_same = self.ours.as_ref().is_some_and(|ours| ours.says_the_same(list));
        let matches_ours = says_the_same && !(pushed && back);
        let matches_before = self.before.as_ref().is_some_and(|before| before.says_the_same(list));
        match self.publication {
            Publication::InFlight if matches_ours => return !self.crossed,
            Publication::InFlight if matches_before && arrival == Arrival::Fetched => return false,
            Publication::InFlight | Publication::InDoubt
                if matches_before && std::mem::take(&mut self.echo_due) =>
            {
                return false;
            }
            #[cfg(omemo_planted)]
            Publication::InFlight if crate::planted::is_planted("crossing-list-ignored") => return false,
            Publication::InFlight => self.crossed = true,
            Publication::Taken | Publication::InDoubt | Publication::Returned if matches_ours => {
                self.publication = if pushed || back { Publication::Returned } else { Publication::Taken };
                if self.crossed && self.seen.is_some() {
                    // The server took our publication after the one that crossed it: that one is still to be restored.
                    return false;
                }
                self.crossed = false;
            }
            Publication::InDoubt if pushed => self.crossed = true,
            _ => (self.publication, self.ours, self.crossed) = (Publication::Over, None, false),
        }
        self.seen = Some((stamp, list.clone()));
        true
    }

    /// Our publication begins, built on the list with this stamp. False: that is not the newest one any more, and nothing
    /// may be published from it.
    pub(in crate::manager) fn publishing(&mut self, list: &DeviceList, built_on: Stamp) -> bool {
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != built_on) {
            return false;
        }
        self.before = self.ours.replace(list.clone()).filter(|_| self.crossed);
        (self.publication, self.crossed, self.echo_due) = (Publication::InFlight, false, true);
        true
    }

    /// Our publication of a list begins that is built on none: the client wants what stands there to go.
    pub(in crate::manager) fn publishing_anew(&mut self, list: &DeviceList) {
        // A late push of what stands there now says nothing new.
        self.before = self.seen.take().map(|(_, seen)| seen);
        (self.ours, self.interrupted) = (Some(list.clone()), None);
        (self.publication, self.crossed, self.echo_due) = (Publication::InFlight, false, true);
    }

    /// Our publication was taken; `stamp`: when the client said so. Returns whether the server has our list now, as far
    /// as is known.
    pub(in crate::manager) fn published(&mut self, stamp: Stamp) -> bool {
        let Some(list) = self.ours.clone().filter(|_| self.publication == Publication::InFlight) else {
            return false;
        };
        if self.seen.as_ref().is_some_and(|(seen, _)| *seen > stamp) {
            // That list came behind the answer, although the answer is applied after it: it crossed nothing.
            (self.publication, self.ours, self.crossed) = (Publication::Over, None, false);
            return false;
        }
        self.publication = Publication::Taken;
        if self.crossed {
            return false;
        }
        self.seen = Some((stamp, list));
        true
    }

    /// Nobody knows whether our publication was taken: the list has to be fetched before anything is built on it.
    pub(in crate::manager) fn publication_failed(&mut self) {
        if self.publication == Publication::InFlight {
            self.publication = Publication::InDoubt;
            if !self.crossed {
                self.seen = None;
            }
        }
    }

    /// Returns whether a publication has overwritten, or may have, what somebody else announced.
    pub(in crate::manager) fn must_redo(&self) -> bool {
        self.crossed && self.publication != Publication::InFlight
    }

    /// The list is gone, as far as was said: what stands there has to be fetched before anything is built on it.
    pub(in crate::manager) fn gone(&mut self) {
        self.seen = None;
    }

    /// Returns the list that ought to be restored, and the list of ours that has overwritten it where that one stands on
    /// the server.
    fn lost(&self) -> Option<(DeviceList, DeviceList)> {
        let open = matches!(self.publication, Publication::InFlight | Publication::InDoubt);
        match (&self.seen, self.ours.clone()?) {
            (Some((_, pushed)), ours) if self.crossed => Some((pushed.clone(), ours)),
            // It may not have been taken, and may have been the one that restores what was lost.
            (_, ours) if open => self.before.clone().map(|before| (ours, before)),
            _ => None,
        }
    }

    /// A new stream: what was seen is not relied on any more.
    pub(in crate::manager) fn new_stream(&mut self) {
        // Where the last stream has shown and published nothing, the one before it still counts.
        let interrupted = self.lost().or_else(|| self.interrupted.take());
        *self = OwnList { interrupted, ..OwnList::default() };
    }
}

#[cfg(test)]
mod tests;
