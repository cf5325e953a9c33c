//! What carries the texts of a simulated world: chats with carbons, rooms, an archive for those who were offline, and a wire
//! that loses, doubles, delays and reorders. It knows stanzas as strings, devices by their endpoints, and no library.

use crate::support::seeds::Dice;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How bad the wire is: chances in percent, and how long a stanza that is late takes at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    pub loss: u64,
    pub twice: u64,
    pub late: u64,
    pub late_ms: usize,
}

/// A stanza that a server has taken.
#[derive(Clone, Debug)]
pub struct Posted {
    pub sender: usize,
    /// The sender's bare JID; in a room the real one.
    pub from: String,
    pub room: Option<String>,
    pub xml: String,
}

/// Which way a stanza came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Live,
    Carbon,
    Room,
    Archive,
}

/// One stanza that reaches one device.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    pub stanza: usize,
    pub way: Way,
    /// The wire or the archive gave it to this device before.
    pub again: bool,
    /// A stanza that was posted after it was given before it.
    pub overtaken: bool,
}

#[derive(Default)]
struct Link {
    jid: String,
    online: bool,
    /// What is on its way, by when it arrives and in which order it was sent.
    live: BTreeSet<(i64, usize, usize)>,
    archive: VecDeque<usize>,
    /// What was not given yet and not lost.
    missed: BTreeSet<usize>,
    given: BTreeSet<usize>,
}

/// The network, of all endpoints that joined.
#[derive(Default)]
pub struct Network {
    pub conditions: Conditions,
    links: BTreeMap<usize, Link>,
    posted: Vec<Posted>,
    lost: BTreeSet<(usize, usize)>,
    parcels: usize,
}

impl Network {
    /// A new device; it is online, and gets what is sent from now on.
    pub fn join(&mut self, endpoint: usize, jid: &str) {
        self.links.insert(endpoint, Link { jid: jid.to_owned(), online: true, ..Link::default() });
    }

    /// A device is gone for good.
    pub fn remove(&mut self, endpoint: usize) {
        self.links.remove(&endpoint);
    }

    /// A device goes offline: what was on its way waits in the archive.
    pub fn leave(&mut self, endpoint: usize) {
        if let Some(link) = self.links.get_mut(&endpoint) {
            link.online = false;
            link.live.clear();
            link.archive.clear();
        }
    }

    /// A device is online again and reads the archive: what it missed, and so many stanzas before that.
    pub fn come(&mut self, endpoint: usize, overlap: usize) {
        let Some(link) = self.links.get_mut(&endpoint) else { return };
        link.online = true;
        let mut archive: BTreeSet<usize> = link.given.iter().rev().take(overlap).copied().collect();
        archive.extend(&link.missed);
        link.archive = archive.into_iter().collect();
    }

    /// A device counts as not having got what was posted from this stanza on.
    pub fn forget_from(&mut self, endpoint: usize, first: usize) {
        if let Some(link) = self.links.get_mut(&endpoint) {
            let again = link.given.split_off(&first);
            link.missed.extend(again);
        }
    }

    /// Sends a stanza to all devices of these accounts and the sender's other ones; in a room to the sender as well.
    pub fn post(&mut self, dice: &mut Dice, now_ms: i64, stanza: Posted, to: &[&str]) -> usize {
        let number = self.posted.len();
        for (endpoint, link) in &mut self.links {
            let is_meant = link.jid == stanza.from || to.contains(&link.jid.as_str());
            if !is_meant || (*endpoint == stanza.sender && stanza.room.is_none()) {
                continue;
            }
            if dice.percent(self.conditions.loss) {
                self.lost.insert((number, *endpoint));
                continue;
            }
            link.missed.insert(number);
            if !link.online {
                continue;
            }
            let copies = if dice.percent(self.conditions.twice) { 2 } else { 1 };
            for _ in 0..copies {
                let due_ms = if dice.percent(self.conditions.late) {
                    now_ms + dice.below(self.conditions.late_ms + 1) as i64
                } else {
                    now_ms
                };
                self.parcels += 1;
                link.live.insert((due_ms, self.parcels, number));
            }
        }
        self.posted.push(stanza);
        number
    }

    /// What reaches a device now: what is live before one of the archive.
    pub fn next(&mut self, endpoint: usize, now_ms: i64) -> Option<Delivery> {
        if let Some(delivery) = self.next_live(endpoint, now_ms) {
            return Some(delivery);
        }
        let link = self.links.get_mut(&endpoint).filter(|link| link.online)?;
        let stanza = link.archive.pop_front()?;
        link.missed.remove(&stanza);
        let again = !link.given.insert(stanza);
        Some(Delivery { stanza, way: Way::Archive, again, overtaken: false })
    }

    /// The same without the archive.
    pub fn next_live(&mut self, endpoint: usize, now_ms: i64) -> Option<Delivery> {
        let link = self.links.get_mut(&endpoint).filter(|link| link.online)?;
        let parcel = link.live.first().copied().filter(|(due_ms, ..)| *due_ms <= now_ms)?;
        link.live.remove(&parcel);
        let stanza = parcel.2;
        let posted = &self.posted[stanza];
        let way = match &posted.room {
            Some(_) => Way::Room,
            None if posted.from == link.jid => Way::Carbon,
            None => Way::Live,
        };
        let overtaken = link.given.last().is_some_and(|last| *last > stanza);
        link.missed.remove(&stanza);
        let again = !link.given.insert(stanza);
        Some(Delivery { stanza, way, again, overtaken })
    }

    /// Whether the archive has nothing more for a device.
    pub fn has_caught_up(&self, endpoint: usize) -> bool {
        self.links.get(&endpoint).is_none_or(|link| link.archive.is_empty())
    }

    /// When the next stanza that is on its way arrives.
    pub fn next_due(&self) -> Option<i64> {
        self.links.values().filter_map(|link| link.live.first()).map(|(due_ms, ..)| *due_ms).min()
    }

    pub fn posted(&self, stanza: usize) -> &Posted {
        &self.posted[stanza]
    }

    /// How many stanzas were posted.
    pub fn count(&self) -> usize {
        self.posted.len()
    }

    /// How many stanzas were lost on their way to a device.
    pub fn count_lost(&self) -> usize {
        self.lost.len()
    }

    /// Whether a stanza was lost on its way to a device, for ever.
    pub fn is_lost(&self, stanza: usize, endpoint: usize) -> bool {
        self.lost.contains(&(stanza, endpoint))
    }
}
