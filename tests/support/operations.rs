//! The operations of a client of the tests: what it starts, and how that ends.

use super::Client;
use crate::support::abi;
use crate::support::callbacks::done;
use crate::support::values::*;
use std::ptr::{null, null_mut};

impl Client {
    pub fn connect(&self) -> Outcome {
        let op = self.start_connect();
        self.finish(op)
    }

    pub fn start_connect(&self) -> u64 {
        let started = self.try_connect(abi::CATCH_UP_NONE);
        started.unwrap_or_else(|status| panic!("connected: {}", status_name(status)))
    }

    /// Connects where messages wait on the server: what they make necessary waits for `finish_catch_up`.
    pub fn connect_to_catch_up(&self) -> Outcome {
        let started = self.try_connect(abi::CATCH_UP_EXPECTED);
        self.finish(started.unwrap_or_else(|status| panic!("connected: {}", status_name(status))))
    }

    /// The number of the operation, or the status of the start; `catch_up` is an `omemo_catch_up`.
    pub fn try_connect(&self, catch_up: i32) -> Result<u64, i32> {
        let mut op = 0;
        // SAFETY: our own handle; user_data lives as long as the manager.
        let status = unsafe {
            abi::omemo_manager_connected(self.manager, catch_up, Some(done), self.user_data(), &mut op)
        };
        if status == abi::OK { Ok(op) } else { Err(status) }
    }

    /// The status of the call.
    pub fn try_disconnect(&self) -> i32 {
        // SAFETY: our own handle.
        unsafe { abi::omemo_manager_disconnected(self.manager) }
    }

    /// Starts what needs no other argument; the number of the operation, or the status of the start.
    pub fn start(&self, function: abi::Start) -> Result<u64, i32> {
        let mut op = 0;
        // SAFETY: as in try_connect.
        let status = unsafe { function(self.manager, Some(done), self.user_data(), &mut op) };
        if status == abi::OK { Ok(op) } else { Err(status) }
    }

    /// The number of the operation, or the status of the start.
    pub fn start_label(&self, label: Option<&str>) -> Result<u64, i32> {
        let (mut op, label) = (0, label.map(c_string));
        let label = label.as_ref().map_or(null(), |label| label.as_ptr());
        // SAFETY: as in try_connect; the string lives for the call.
        let status = unsafe {
            abi::omemo_manager_set_label(self.manager, label, Some(done), self.user_data(), &mut op)
        };
        if status == abi::OK { Ok(op) } else { Err(status) }
    }

    pub fn disconnect(&self) {
        assert_eq!(self.try_disconnect(), abi::OK);
    }

    /// Start to encrypt a text; the number of the operation, or the status of the start.
    pub fn start_encrypt(&self, to: &[&str], body: &str, policy: i32) -> Result<u64, i32> {
        self.start_draft(to, |draft| {
            // SAFETY: the string lives for its call.
            unsafe {
                abi::omemo_draft_set_body(draft, c_string(body).as_ptr());
                abi::omemo_draft_set_policy(draft, policy);
            }
        })
    }

    /// Start to encrypt what `fill` makes of a draft.
    pub fn start_draft(&self, to: &[&str], fill: impl FnOnce(*mut abi::Opaque)) -> Result<u64, i32> {
        let mut op = 0;
        // SAFETY: all strings live for their call, the draft is freed here.
        let status = unsafe {
            let draft = abi::omemo_draft_new();
            for jid in to {
                abi::omemo_draft_add_recipient(draft, c_string(jid).as_ptr());
            }
            fill(draft);
            let status =
                abi::omemo_manager_encrypt(self.manager, draft, Some(done), self.user_data(), &mut op);
            abi::omemo_draft_free(draft);
            status
        };
        if status == abi::OK { Ok(op) } else { Err(status) }
    }

    #[track_caller]
    pub fn encrypt(&self, to: &[&str], body: &str) -> Outcome {
        let op = self.start_encrypt(to, body, abi::ENCRYPT_WAIT).unwrap_or_else(|status| {
            panic!("encrypt does not start: {}", status_name(status));
        });
        self.finish(op)
    }

    /// Encrypt a text that must succeed, as one stanza, and do not send it.
    #[track_caller]
    pub fn seal(&self, to: &[&str], body: &str) -> String {
        let mut messages = self.encrypt(to, body).ok().messages;
        assert_eq!(messages.len(), 1, "one namespace, one stanza");
        messages.remove(0)
    }

    /// Encrypt and send, in one stanza for each namespace that is needed. The stanzas that were sent.
    #[track_caller]
    pub fn say(&self, to: &[&str], body: &str) -> Vec<String> {
        let stanzas = self.encrypt(to, body).ok().messages;
        assert!(!stanzas.is_empty(), "somebody is written to");
        for xml in &stanzas {
            self.world.post(self.endpoint, to, xml);
        }
        stanzas
    }

    pub fn refresh(&self, jid: &str) -> Outcome {
        let op = self.start_refresh(jid);
        self.finish(op.unwrap_or_else(|status| panic!("refresh: {}", status_name(status))))
    }

    /// The number of the operation, or the status of the start.
    pub fn start_refresh(&self, jid: &str) -> Result<u64, i32> {
        let mut op = 0;
        // SAFETY: as in start_connect.
        let status = unsafe {
            abi::omemo_manager_refresh_devices(
                self.manager,
                c_string(jid).as_ptr(),
                null(),
                Some(done),
                self.user_data(),
                &mut op,
            )
        };
        if status == abi::OK { Ok(op) } else { Err(status) }
    }

    /// The number of the operation, or the status of the start.
    pub fn start_replace_sessions(&self, jid: Option<&str>, device: u32) -> Result<u64, i32> {
        let (mut op, jid) = (0, jid.map(c_string));
        let jid = jid.as_ref().map_or(null(), |jid| jid.as_ptr());
        // SAFETY: as in start_connect.
        let status = unsafe {
            abi::omemo_manager_replace_sessions(
                self.manager,
                jid,
                device,
                Some(done),
                self.user_data(),
                &mut op,
            )
        };
        if status == abi::OK { Ok(op) } else { Err(status) }
    }

    /// Sets the label of this device, or takes it away, and waits until that is published.
    #[track_caller]
    pub fn set_label(&self, label: Option<&str>) -> Outcome {
        let op = self.start_label(label);
        self.finish(op.unwrap_or_else(|status| panic!("set_label: {}", status_name(status))))
    }

    pub fn start_catch_up(&self) -> i32 {
        // SAFETY: the manager is live.
        unsafe { abi::omemo_manager_catch_up_begin(self.manager) }
    }

    /// The number of the operation, or the status of the start.
    pub fn finish_catch_up(&self) -> Result<u64, i32> {
        let mut op = 0;
        // SAFETY: as in start_connect.
        let status =
            unsafe { abi::omemo_manager_catch_up_end(self.manager, Some(done), self.user_data(), &mut op) };
        if status == abi::OK { Ok(op) } else { Err(status) }
    }
}
