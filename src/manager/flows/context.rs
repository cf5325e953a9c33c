//! What all flows share: the configuration, the engine, and the account behind its lock.
//!
//! The account's lock is held while a service runs; the locks of the engine are leaves. Nobody is woken, and
//! `Services::wakeup` is not called, with one of them held.

use super::super::api::event::Event;
use super::super::api::request::{Answer, Reason, Request, Stamp};
use super::super::api::services::{LogLevel, Services};
use super::super::config::Config;
use super::super::engine::{Background, Class, Engine, Now, SendOrder, Settled};
use super::super::model::fact::Fact;
use super::super::model::job::Job;
use super::super::model::memory::Memory;
use super::super::store::account::Account;
use super::super::store::transaction::Tx;
use crate::error::{Error, Result, Status};
use crate::runtime::Signal;
use parking_lot::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

/// See the module.
pub(in crate::manager) struct Context {
    pub(in crate::manager) config: Config,
    pub(in crate::manager) engine: Engine<Fact>,
    pub(in crate::manager) order: Arc<SendOrder>,
    /// Rings when a background job has succeeded or failed.
    pub(in crate::manager) progress: Signal,
    /// Rings when the stream comes up.
    pub(in crate::manager) stream_up: Signal,
    /// Rings when it goes down: what was being done in it ends.
    pub(in crate::manager) stream_down: Signal,
    /// Encryptions that wait for a stream.
    pub(in crate::manager) waiting: AtomicUsize,
    pub(in crate::manager) background: OnceLock<Arc<Background<Job>>>,
    services: Arc<dyn Services>,
    account: Mutex<Option<Account>>,
}

impl Context {
    pub(in crate::manager) fn new(
        engine: Engine<Fact>,
        services: Arc<dyn Services>,
        account: Account,
    ) -> Context {
        Context {
            config: account.config.clone(),
            engine,
            order: Arc::default(),
            progress: Signal::default(),
            stream_up: Signal::default(),
            stream_down: Signal::default(),
            waiting: AtomicUsize::new(0),
            background: OnceLock::new(),
            services,
            account: Mutex::new(Some(account)),
        }
    }

    pub(in crate::manager) fn now(&self) -> Now {
        self.engine.now()
    }

    /// Takes the stamp of a call that brings a fact.
    pub(in crate::manager) fn stamp(&self) -> Stamp {
        self.engine.stamp()
    }

    pub(in crate::manager) fn is_online(&self) -> bool {
        self.engine.requests().is_online()
    }

    /// Fails where there is no stream: for what cannot begin without.
    pub(in crate::manager) fn need_stream(&self) -> Result<()> {
        self.engine.check_open()?;
        if self.is_online() { Ok(()) } else { Err(Status::Offline.into()) }
    }

    /// Does some work on the account, and commits what it changes.
    pub(in crate::manager) fn transact<T>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
        self.engine.check_open()?;
        let now = self.now();
        let (result, released) = {
            let mut guard = self.account.lock();
            let account = guard.as_mut().ok_or(Error::from(Status::Cancelled))?;
            account.transact(now, work)
        };
        if let Err(error) = &result
            && error.is_storage()
        {
            self.log(LogLevel::Warn, &format!("storage: failed with {}", error.log_name()));
        }
        self.engine.events().extend(released.notices.into_iter().map(Event::Notify));
        if released.work {
            self.wake_worker();
            // Who waits for something of the worker may have lost the reason.
            self.progress.notify();
        }
        result
    }

    /// Looks at, or changes, what is not stored.
    pub(in crate::manager) fn memory<T>(&self, work: impl FnOnce(&mut Memory) -> T) -> Result<T> {
        self.engine.check_open()?;
        let mut guard = self.account.lock();
        let account = guard.as_mut().ok_or(Error::from(Status::Cancelled))?;
        Ok(work(&mut account.memory))
    }

    /// Has the background worker look for jobs.
    pub(in crate::manager) fn wake_worker(&self) {
        if let Some(background) = self.background.get() {
            background.wake();
        }
    }

    /// Asks the client, and waits until the answer is taken over.
    pub(in crate::manager) async fn ask(&self, request: Request, class: Class) -> Settled<Fact> {
        let (name, begun) = (name(&request), self.now().aged_ms);
        self.log(LogLevel::Debug, &format!("{name}: requested"));
        let settled = self.engine.requests().ask(request, class).await;
        let response = &settled.response;
        let after = response.at.aged_ms.saturating_sub(begun);
        self.log(LogLevel::Debug, &format!("{name}: {} after {after} ms", outcome(&response.answer)));
        settled
    }

    /// Writes a line of log: what happened, never to whom.
    pub(in crate::manager) fn log(&self, level: LogLevel, line: &str) {
        self.services.log(level, "omemo::manager", line);
    }

    /// The end: the account is closed.
    pub(in crate::manager) fn close(&self) {
        let account = self.account.lock().take();
        drop(account);
    }
}

fn name(request: &Request) -> &'static str {
    match request {
        Request::FetchDeviceList { .. } => "fetch device list",
        Request::FetchBundle { .. } => "fetch bundle",
        Request::PublishDeviceList { .. } => "publish device list",
        Request::PublishBundle { .. } => "publish bundle",
        Request::DeleteBundle { .. } => "delete bundle",
        Request::SendMessage { .. } => "send empty message",
        Request::DecideTrust { .. } => "decide trust",
    }
}

fn outcome(answer: &Answer) -> &'static str {
    match answer {
        Answer::Done => "done",
        Answer::DeviceList(_) | Answer::Bundle(_) => "found",
        Answer::Levels(_) => "decided",
        Answer::Rejected(Reason::NotFound) => "not found",
        Answer::Rejected(Reason::Failed) => "failed",
        Answer::Rejected(Reason::Timeout) => "timed out",
        Answer::Rejected(Reason::Offline) => "offline",
        Answer::Rejected(Reason::Declined) => "declined",
        Answer::Refused(error) => error.condition.map_or("refused", |condition| condition.name()),
        Answer::Unreadable(_) => "unreadable",
    }
}

/// A push answers the open request for the same list, unless a newer answer came before it.
pub(super) fn supersede_list(
    context: &Context,
    jid: &crate::protocol::address::BareJid,
    list: &crate::protocol::device_list::DeviceList,
    stamp: Stamp,
) {
    let key = super::super::engine::RequestKey::List(list.namespace, jid.clone());
    let answer = Answer::DeviceList(list.clone());
    context.engine.requests().supersede(&key, answer, Fact::List(Ok(list.clone())), stamp, context.now());
}
