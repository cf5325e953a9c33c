//! What calls have left to be done: publishing, empty messages, a look at a list. Done by one worker, inside
//! `next_event`, while the stream is up.
//!
//! What an authenticated message caused is stored with it and survives a crash. What anything else caused is in memory
//! only. An empty message is encrypted once, in a commit of its own; every attempt to send it sends the same bytes.

use super::Inner;
use super::account::Account;
use super::api::event::{Notice, NoticeKind};
use super::api::question::{Answer, Question, Reason};
use super::api::services::LogLevel;
use super::clock::Now;
use super::connection::Job;
use super::devices;
use super::layout::{self, SessionKey};
use super::leaving;
use super::publish;
use super::records::{Reason as Archived, TodoEntry};
use super::sessions::Sessions;
use crate::error::{Error, Result, Status};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::limits;
use crate::protocol::message::{Message, MessageKey};
use crate::protocol::namespace::Namespace;
use crate::protocol::payload;
use crate::protocol::session::Session;
use prost::Message as _;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use zeroize::Zeroizing;

/// A message that could not be sent for so long is of no use any more: 30 days.
const KEPT_MS: i64 = 30 * 24 * 3_600_000;
/// When the worker looks again after the store could not be read.
const RETRY_MS: u64 = 1_000;
/// Jobs done at a time.
const AT_A_TIME: usize = 32;

type Running = (Job, Pin<Box<dyn Future<Output = ()> + Send>>);

/// Does what is due, for as long as the manager lives.
pub(super) async fn work(inner: Arc<Inner>) {
    let mut running: Vec<Running> = Vec::new();
    loop {
        let seen = inner.work.generation();
        let now = inner.now();
        let busy: BTreeSet<Job> = running.iter().map(|(job, _)| job.clone()).collect();
        let (due, next) = match inner.desk.is_online() {
            // A store that cannot be read now may be readable soon.
            true => inner
                .account(|account| account.due_jobs(&busy, now))
                .unwrap_or_else(|_| (Vec::new(), Some(now.steady.saturating_add(RETRY_MS)))),
            false => (Vec::new(), None),
        };
        for job in due.into_iter().take(AT_A_TIME.saturating_sub(running.len())) {
            running.push((job.clone(), Box::pin(perform(inner.clone(), job))));
        }
        let mut changed = Box::pin(inner.work.changed(seen));
        let mut sleep = next.map(|at| Box::pin(inner.runtime.sleep_until(at)));
        std::future::poll_fn(|context| {
            let before = running.len();
            running.retain_mut(|(_, job)| job.as_mut().poll(context).is_pending());
            let woken = changed.as_mut().poll(context).is_ready();
            let slept = sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(context).is_ready());
            match woken || slept || running.len() < before {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

async fn perform(inner: Arc<Inner>, job: Job) {
    let result = match &job {
        Job::PublishBundle(namespace) => publish::publish_bundle(&inner, *namespace).await,
        Job::PublishList(namespace) => publish::publish_list(&inner, *namespace).await,
        Job::Leave(namespace) => leaving::leave(&inner, *namespace).await,
        Job::Send(id) => send(&inner, *id).await,
        Job::FetchList(namespace, jid) => fetch_list(&inner, &job, *namespace, jid).await,
        Job::Repair(key) => repair(&inner, &job, key).await,
    };
    let now = inner.now().steady;
    let noted = inner.account(|account| {
        match &result {
            Ok(()) => account.connection.job_done(&job),
            Err(error) => account.job_failed(&job, error, now)?,
        }
        Ok(())
    });
    if noted.is_err() {
        return;
    }
    inner.progress.notify();
}

impl Account {
    /// Jobs that may be done now, and when the next one may.
    fn due_jobs(&mut self, busy: &BTreeSet<Job>, now: Now) -> Result<(Vec<Job>, Option<u64>)> {
        self.transact(|account| account.drop_old_messages(now))?;
        let mut jobs = Vec::new();
        if self.device_id()?.is_some() {
            for namespace in self.config.namespaces.clone() {
                let own = self.own(namespace)?;
                // The bundle comes before the list, or peers would look for a bundle that is not there.
                if own.bundle_pending {
                    // Nor does it go over somebody else's that stands under the same id.
                    jobs.extend(self.connection.own_compared.then_some(Job::PublishBundle(namespace)));
                } else if own.list_pending && !busy.contains(&Job::Leave(namespace)) {
                    jobs.push(Job::PublishList(namespace));
                }
            }
            // Two that change the list of a namespace at the same time would undo each other.
            for namespace in self.all_leaving()?.into_iter().filter(|_| self.connection.own_compared) {
                let listing = Job::PublishList(namespace);
                if !busy.contains(&listing) && !jobs.contains(&listing) {
                    jobs.push(Job::Leave(namespace));
                }
            }
            jobs.extend(self.todo()?.entries.iter().map(|entry| Job::Send(entry.id)));
        }
        jobs.extend(self.connection.suggested());
        let mut next = None::<u64>;
        let mut due = Vec::new();
        for job in jobs.into_iter().filter(|job| !busy.contains(job)) {
            let not_before = self.connection.not_before(&job);
            if not_before <= now.steady {
                due.push(job);
            } else {
                next = Some(next.map_or(not_before, |next| next.min(not_before)));
            }
        }
        Ok((due, next))
    }

    fn job_failed(&mut self, job: &Job, error: &Error, now: u64) -> Result<()> {
        self.connection.job_failed(job, now);
        self.log(LogLevel::Info, error.status().name());
        if let Job::PublishBundle(namespace) | Job::PublishList(namespace) | Job::Leave(namespace) = job {
            let failures = self.connection.publish_failures.entry(*namespace).or_insert((0, Status::Ok));
            *failures = (failures.0.saturating_add(1), error.status());
            let notice = Notice {
                kind: NoticeKind::PublishFailed,
                namespace: Some(*namespace),
                jid: None,
                device: 0,
                status: error.status(),
            };
            // After a failed commit this fails, too, and is tried again with the job.
            let _ = self.transact(|account| {
                account.notify(notice);
                Ok(())
            });
        }
        Ok(())
    }

    /// Notes that an empty message is to be sent on the current session with a device. One is enough.
    pub(super) fn cause_message(&mut self, key: &SessionKey, session: &Session, now: Now) -> Result<()> {
        let ratchet_key = session.own_ratchet_key();
        let same = |entry: &TodoEntry| is_for(entry, key) && entry.ratchet_key == ratchet_key.as_bytes();
        let entries = &self.todo()?.entries;
        let full = entries.len() >= limits::WAITING_MESSAGES
            || self.todo()?.encoded_len() >= limits::WAITING_MESSAGES_BYTES;
        if full || entries.iter().any(same) {
            return Ok(());
        }
        let account = self.account_mut()?;
        account.last_todo = account.last_todo.saturating_add(1);
        let id = account.last_todo;
        self.drop_messages(key)?;
        self.todo_mut()?.entries.push(TodoEntry {
            id,
            jid: key.jid.as_str().to_owned(),
            device: key.device.get(),
            namespace: key.namespace.code(),
            ratchet_key: ratchet_key.as_bytes().to_vec(),
            since: now.wall,
            encrypted: false,
            sent: session.sending_chain_length(),
        });
        Ok(())
    }

    /// A message to this device was handed out: empty ones that wait for it have lost their purpose.
    pub(super) fn drop_messages(&mut self, key: &SessionKey) -> Result<()> {
        let ids: Vec<u64> =
            self.todo()?.entries.iter().filter(|entry| is_for(entry, key)).map(|entry| entry.id).collect();
        ids.into_iter().try_for_each(|id| self.drop_message(id))
    }

    fn drop_message(&mut self, id: u64) -> Result<()> {
        let todo = self.todo_mut()?;
        let encrypted = todo.entries.iter().any(|entry| entry.id == id && entry.encrypted);
        todo.entries.retain(|entry| entry.id != id);
        if encrypted {
            self.stage_raw(layout::todo_message(id), None);
        }
        Ok(())
    }

    fn drop_old_messages(&mut self, now: Now) -> Result<()> {
        let oldest = now.wall.saturating_sub(KEPT_MS);
        let old: Vec<u64> =
            self.todo()?.entries.iter().filter(|entry| entry.since < oldest).map(|entry| entry.id).collect();
        old.into_iter().try_for_each(|id| self.drop_message(id))
    }

    /// The bytes of an empty message, encrypted now or before; `None`: it is not needed any more.
    fn message_to_send(&mut self, id: u64, now: Now) -> Result<Option<(SessionKey, Message)>> {
        let Some(entry) = self.todo()?.entries.iter().find(|entry| entry.id == id).cloned() else {
            return Ok(None);
        };
        let key = session_key(&entry);
        let session = match &key {
            Some(key) => Sessions::new(self, key, now).current()?,
            None => None,
        };
        // Anything that was handed out on this ratchet key since has done what this message is for.
        let sent = entry.sent.saturating_add(entry.encrypted.into());
        let fits = |session: &Session| {
            session.own_ratchet_key().as_bytes() == entry.ratchet_key.as_slice()
                && session.sending_chain_length() == sent
        };
        let (Some(key), Some(session)) = (key, session.filter(fits)) else {
            self.drop_message(id)?;
            return Ok(None);
        };
        let bytes = match entry.encrypted {
            true => self.load_raw(&layout::todo_message(id))?.map(|bytes| bytes.to_vec()),
            false => None,
        };
        let (stored, key_exchange) = match bytes {
            Some(bytes) => (bytes, session.is_initiator() && !session.is_confirmed()),
            None => {
                let mut session = session;
                let empty = payload::empty_key(key.namespace, &mut *self.rng)?;
                let encrypted = session.encrypt(&empty)?;
                Sessions::new(self, &key, now).update(session)?;
                // Every attempt sends the same bytes, those of the IV included.
                let mut stored = payload::empty_iv(key.namespace, &mut *self.rng)?.unwrap_or_default();
                stored.extend_from_slice(&encrypted.bytes);
                self.stage_raw(layout::todo_message(id), Some(Zeroizing::new(stored.clone())));
                if let Some(entry) = self.todo_mut()?.entries.iter_mut().find(|entry| entry.id == id) {
                    entry.encrypted = true;
                }
                (stored, encrypted.key_exchange)
            }
        };
        let own = self.device_id()?.ok_or(Error::from(Status::NotReady))?;
        let message = empty_message(&key, own, &stored, key_exchange)?;
        Ok(Some((key, message)))
    }
}

fn is_for(entry: &TodoEntry, key: &SessionKey) -> bool {
    entry.jid == key.jid.as_str()
        && entry.device == key.device.get()
        && entry.namespace == key.namespace.code()
}

fn session_key(entry: &TodoEntry) -> Option<SessionKey> {
    Some(SessionKey {
        jid: BareJid::from_normalized(&entry.jid),
        device: DeviceId::new(entry.device)?,
        namespace: Namespace::from_code(entry.namespace)?,
    })
}

/// The message, from its IV and its key as they are stored one behind the other.
fn empty_message(key: &SessionKey, own: DeviceId, stored: &[u8], key_exchange: bool) -> Result<Message> {
    let split = stored.split_at_checked(payload::empty_iv_bytes(key.namespace));
    let (iv, bytes) = split.ok_or(Error::from(Status::StorageCorrupt))?;
    let jid = match key.namespace {
        Namespace::Omemo2 => Some(key.jid.clone()),
        Namespace::Legacy => None,
    };
    let keys = vec![MessageKey { jid, device: key.device.get(), key_exchange, bytes: Some(bytes.to_vec()) }];
    let iv = (!iv.is_empty()).then(|| iv.to_vec());
    Ok(Message { namespace: key.namespace, sender_device: own.get(), keys, payload: None, iv })
}

/// Sends an empty message: the answer to a key exchange, or a heartbeat.
async fn send(inner: &Inner, id: u64) -> Result<()> {
    let now = inner.now();
    let to_send = inner.account(|account| account.transact(|account| account.message_to_send(id, now)))?;
    let Some((key, message)) = to_send else { return Ok(()) };
    match inner.desk.ask(Question::SendMessage { jid: key.jid, message }).await {
        Answer::Done | Answer::Rejected(Reason::Declined) => {
            inner.account(|account| account.transact(|account| account.drop_message(id)))
        }
        Answer::Rejected(Reason::Timeout) => Err(Status::Timeout.into()),
        _ => Err(Status::MessageSendingFailed.into()),
    }
}

/// Looks whether a sender's device stands on its JID's list by now.
async fn fetch_list(inner: &Inner, job: &Job, namespace: Namespace, jid: &BareJid) -> Result<()> {
    begin(inner, job)?;
    let lists = devices::fetch_lists(inner, vec![(namespace, jid.clone())]).await;
    lists.into_iter().try_for_each(|(_, _, applied)| applied)
}

/// A device that stands on its JID's list uses a session that we do not have: it is told so by a new one.
async fn repair(inner: &Inner, job: &Job, key: &SessionKey) -> Result<()> {
    begin(inner, job)?;
    let fetched = devices::fetch_bundles(inner, vec![key.clone()]).await;
    let Some((key, bundle)) = fetched.into_iter().next() else { return Ok(()) };
    let bundle = bundle?;
    let now = inner.now();
    inner.account(|account| {
        account.transact(|account| {
            if Sessions::new(account, &key, now).current()?.is_some() {
                return Ok(());
            }
            let (identity, rng) = account.identity_and_rng()?;
            let session = Session::initiate(identity, &bundle, rng)?;
            account.cause_message(&key, &session, now)?;
            Sessions::new(account, &key, now).replace(session, None, Archived::Superseded)?;
            account.follow_up();
            Ok(())
        })
    })
}

fn begin(inner: &Inner, job: &Job) -> Result<()> {
    inner.account(|account| {
        account.connection.begun(job);
        Ok(())
    })
}
