//! What was decrypted of the receiving chains that are over, so that an old message which is given again is a duplicate,
//! and one whose key was given up is not.
//!
//! A device keeps its closed chains in pages, whichever of its sessions they were of. Which page a chain is in follows
//! from its ratchet key: looking one up loads at most two pages, and what a message changes is one page. Knows no
//! storage: pages are loaded by a function that is given.

use super::limits;
use super::ranges::Ranges;
use crate::crypto::keys::PublicKey;
use crate::crypto::silent::silent;
use crate::error::{Error, Result, Status};
use prost::Message;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const VERSION: u32 = 1;
/// Bytes of a hash by which a chain is remembered.
const TAG_BYTES: usize = 8;
/// The page of devices of which little is kept.
const SMALL_PAGE: u8 = 0;
/// The pages of the others follow behind it.
const FIRST_PAGE: u8 = 1;

/// Loads the page with a number, if there is one.
pub type LoadPage<'a> = dyn FnMut(u8) -> Result<Option<Zeroizing<Vec<u8>>>> + 'a;
/// Returns what is remembered of the chain of a ratchet key.
pub type Lookup<'a> = dyn FnMut(&PublicKey) -> Result<Option<ChainRecord>> + 'a;

/// How many closed chains of a device are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// At least the last 1,000: of a device whose JID the client has named.
    Known,
    /// The last 32: of a stranger's device.
    Stranger,
}

/// Which indices of a chain were decrypted. Without room for all of them some are missing; an index that was not decrypted never
/// counts as decrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainRecord {
    below: u32,
    above: Ranges,
}

impl ChainRecord {
    /// Returns the record of a chain of which everything below `next` was decrypted but the missing ones.
    pub(super) fn new(next: u32, missing: &Ranges) -> ChainRecord {
        let mut record = ChainRecord { below: 0, above: missing.complement(next) };
        record.normalize();
        record
    }

    /// Returns whether the message with an index was decrypted.
    pub fn is_decrypted(&self, n: u32) -> bool {
        n < self.below || self.above.contains(n)
    }

    /// Notes that the message with an index was decrypted.
    fn add(&mut self, n: u32) {
        if n >= self.below {
            self.above.add_index(n);
            self.normalize();
        }
    }

    fn normalize(&mut self) {
        if let Some(first) = self.above.take_first(self.below) {
            self.below = first.end;
        }
        self.above.keep_largest(limits::CLOSED_CHAIN_RANGES);
    }

    fn to_numbers(&self) -> impl Iterator<Item = u32> + '_ {
        let count = u32::try_from(self.above.iter().len()).unwrap_or(u32::MAX);
        [self.below, count].into_iter().chain(self.above.to_numbers(self.below))
    }

    fn from_numbers(numbers: &mut dyn Iterator<Item = u32>) -> Option<ChainRecord> {
        let (below, count) = (numbers.next()?, usize::try_from(numbers.next()?).ok()?);
        if count > limits::CLOSED_CHAIN_RANGES {
            return None;
        }
        let above = Ranges::from_numbers(below, count, numbers)?;
        // A range that begins at 0 would be part of what is below.
        (!above.contains(below)).then_some(ChainRecord { below, above })
    }
}

/// What a message changed of a chain that is not the one on which new messages come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainEvent {
    /// The chain of a ratchet key is over.
    Closed(PublicKey, ChainRecord),
    /// The message with an index, late, was decrypted.
    Late(PublicKey, u32),
}

/// A page as it is to be stored.
#[derive(Debug, PartialEq, Eq)]
pub struct ChangedPage {
    /// The number of the page.
    pub number: u8,
    /// Its record, of at most 2,048 bytes. Nothing in it is secret.
    pub bytes: Vec<u8>,
}

/// Returns the numbers that pages can have, for those who delete all of them.
pub fn pages() -> impl Iterator<Item = u8> {
    SMALL_PAGE..FIRST_PAGE.saturating_add(limits::CLOSED_CHAIN_PAGES)
}

/// Checks that the bytes are a page.
pub fn check(bytes: &[u8]) -> Result<()> {
    Page::decode(bytes).map(|_| ())
}

/// Checks that the bytes are the page with a number, and not another one.
pub fn check_page(number: u8, bytes: &[u8]) -> Result<()> {
    let page = Page::decode(bytes)?;
    let fits = number == SMALL_PAGE || page.0.iter().all(|(tag, _)| tag.page() == number);
    if fits { Ok(()) } else { Err(corrupt()) }
}

/// Looks a chain up. Loads two pages at most.
pub fn find(ratchet_key: &PublicKey, load: &mut LoadPage<'_>) -> Result<Option<ChainRecord>> {
    let tag = Tag::of(ratchet_key);
    Ok(find_page(tag, load)?.and_then(|(_, page)| page.record(tag).cloned()))
}

/// Notes what a message changed: loads three pages at most, and changes one.
pub fn note(event: &ChainEvent, quota: Quota, load: &mut LoadPage<'_>) -> Result<ChangedPage> {
    let (tag, record, found) = match event {
        ChainEvent::Closed(ratchet_key, record) => (Tag::of(ratchet_key), record.clone(), None),
        ChainEvent::Late(ratchet_key, n) => {
            let tag = Tag::of(ratchet_key);
            let found = find_page(tag, load)?;
            let record = found.as_ref().and_then(|(_, page)| page.record(tag));
            let mut record = record.cloned().unwrap_or_default();
            record.add(*n);
            (tag, record, found)
        }
    };
    let (number, mut page) = match found {
        Some(found) => found,
        None => {
            let number = match quota {
                Quota::Known => tag.page(),
                Quota::Stranger => SMALL_PAGE,
            };
            (number, load(number)?.map_or(Ok(Page::default()), |bytes| Page::decode(&bytes))?)
        }
    };
    let most = match number {
        SMALL_PAGE => limits::CLOSED_CHAINS_OF_STRANGERS,
        _ => limits::CLOSED_CHAINS_PER_PAGE,
    };
    page.put(tag, record, most);
    Ok(ChangedPage { number, bytes: page.encode() })
}

/// The page that holds a chain, and its number.
fn find_page(tag: Tag, load: &mut LoadPage<'_>) -> Result<Option<(u8, Page)>> {
    // A stranger's chains stay where they are when the client names his JID.
    for number in [tag.page(), SMALL_PAGE] {
        if let Some(bytes) = load(number)? {
            let page = Page::decode(&bytes)?;
            if page.record(tag).is_some() {
                return Ok(Some((number, page)));
            }
        }
    }
    Ok(None)
}

/// What a chain is remembered by: the beginning of a hash of its ratchet key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Tag([u8; TAG_BYTES]);

impl Tag {
    fn of(ratchet_key: &PublicKey) -> Tag {
        let mut tag = [0; TAG_BYTES];
        tag.iter_mut().zip(Sha256::digest(ratchet_key.as_bytes())).for_each(|(out, byte)| *out = byte);
        Tag(tag)
    }

    /// The page of a device of which much is kept.
    fn page(self) -> u8 {
        let Tag([first, ..]) = self;
        first.checked_rem(limits::CLOSED_CHAIN_PAGES).unwrap_or_default().saturating_add(FIRST_PAGE)
    }
}

/// Some closed chains, the one that was closed last at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Page(Vec<(Tag, ChainRecord)>);

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct PageRecord {
    #[prost(uint32, tag = "1")]
    version: u32,
    /// The tags of all chains, 8 bytes each, concatenated.
    #[prost(bytes = "vec", tag = "2")]
    tags: Vec<u8>,
    /// Of each chain: the index below which everything was decrypted, the number of ranges above it, and of each range
    /// how far it begins behind what came before it, and its length.
    #[prost(uint32, repeated, tag = "3")]
    numbers: Vec<u32>,
}

silent! { PageRecord }

fn corrupt() -> Error {
    Error::new(Status::StorageCorrupt, "A page of closed chains cannot be read.")
}

impl Page {
    fn record(&self, tag: Tag) -> Option<&ChainRecord> {
        self.0.iter().find(|(other, _)| *other == tag).map(|(_, record)| record)
    }

    /// Puts a record in; a chain that is new here goes to the end, and the oldest go where the room does not suffice.
    fn put(&mut self, tag: Tag, record: ChainRecord, most: usize) {
        match self.0.iter_mut().find(|(other, _)| *other == tag) {
            Some((_, before)) => *before = record,
            None => self.0.push((tag, record)),
        }
        let surplus = self.0.len().saturating_sub(most);
        self.0.drain(..surplus);
        while self.to_record().encoded_len() > limits::CLOSED_CHAIN_PAGE_BYTES && !self.0.is_empty() {
            self.0.remove(0);
        }
    }

    fn to_record(&self) -> PageRecord {
        PageRecord {
            version: VERSION,
            tags: self.0.iter().flat_map(|(Tag(tag), _)| *tag).collect(),
            numbers: self.0.iter().flat_map(|(_, record)| record.to_numbers()).collect(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        self.to_record().encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Page> {
        // A number takes at least a byte: this bounds what the decoder can be made to build.
        if bytes.len() > limits::CLOSED_CHAIN_PAGE_BYTES.saturating_mul(limits::LARGER_BY_UNKNOWN_FIELDS) {
            return Err(corrupt());
        }
        let record = PageRecord::decode(bytes).map_err(|_| corrupt())?;
        match record.version {
            VERSION => (),
            0 => return Err(corrupt()),
            _ => return Err(Status::StorageVersion.into()),
        }
        let (tags, rest) = record.tags.as_chunks::<TAG_BYTES>();
        if !rest.is_empty() || tags.is_empty() || tags.len() > limits::CLOSED_CHAINS_PER_PAGE {
            return Err(corrupt());
        }
        let mut numbers = record.numbers.into_iter();
        let chains = tags.iter().map(|tag| Some((Tag(*tag), ChainRecord::from_numbers(&mut numbers)?)));
        let page = Page(chains.collect::<Option<_>>().ok_or_else(corrupt)?);
        let mut sorted: Vec<Tag> = page.0.iter().map(|(tag, _)| *tag).collect();
        sorted.sort_unstable();
        if numbers.next().is_some() || !sorted.is_sorted_by(|a, b| a < b) {
            return Err(corrupt());
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests;
