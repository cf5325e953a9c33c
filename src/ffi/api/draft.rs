//! Section 11 of the header: what to encrypt, and for whom.

use super::super::boundary::returns::Out;
use super::super::boundary::{args, guard, handles};
use super::super::runtime::manager_handle;
use super::super::runtime::manager_handle::{Completion, omemo_manager};
use super::manager::{omemo_done, omemo_op};
use super::status::omemo_status;
use crate::crypto::rng::SystemRng;
use crate::error::{Error, Result, Status};
use crate::manager::api::draft::{Draft, EncryptPolicy};
use crate::protocol::address::BareJid;
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;
use crate::stanza::envelope;
use std::ffi::{c_char, c_void};
use zeroize::Zeroizing;

/// ## 11 Encrypt
///
/// What to do about devices that are not ready. No policy ever drops a recipient in silence.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum omemo_encrypt_policy {
    /// Wait until everything is fetched and decided, then serve whom one can and report the rest. Offline, wait for
    /// the next stream.
    OMEMO_ENCRYPT_WAIT = 0,
    /// Serve who is ready, ask nobody, report the rest: offline, too. May overtake what waits.
    OMEMO_ENCRYPT_NOW = 1,
    /// Wait, and fail unless every list is up to date and every active device that is not distrusted is served.
    /// Offline, wait for the next stream.
    OMEMO_ENCRYPT_ALL = 2,
}

/// What to encrypt, and for whom.
#[derive(Clone, Default)]
pub struct omemo_draft {
    first_error: Option<Error>,
    recipients: Vec<BareJid>,
    plaintexts: Vec<(Namespace, Plaintext)>,
    key_transport: bool,
    policy: EncryptPolicy,
    namespaces: Option<Vec<Namespace>>,
    context: Option<String>,
}

/// What is said in one namespace.
#[derive(Clone)]
enum Plaintext {
    /// These bytes.
    Bytes(Zeroizing<Vec<u8>>),
    /// This text, in the form that the namespace wants.
    Body(Zeroizing<String>),
}

impl omemo_draft {
    /// Sets something; the first failure is kept.
    fn set(&mut self, set: impl FnOnce(&mut omemo_draft) -> Result<()>) -> Result<()> {
        let done = set(self);
        if let Err(error) = &done {
            self.first_error.get_or_insert_with(|| error.clone());
        }
        done
    }

    fn say(&mut self, namespace: Namespace, content: Plaintext) {
        self.key_transport = false;
        self.plaintexts.retain(|(said, _)| *said != namespace);
        self.plaintexts.push((namespace, content));
    }

    /// The draft as the manager wants it; `from` says something at the time `now`.
    fn finish(self, from: &BareJid, now: i64) -> Result<Draft> {
        if let Some(error) = self.first_error {
            return Err(error);
        }
        let mut plaintexts = Vec::new();
        for (namespace, content) in self.plaintexts {
            let bytes = match (content, namespace) {
                (Plaintext::Bytes(bytes), _) => bytes,
                (Plaintext::Body(body), Namespace::Omemo2) => {
                    let mut envelope = envelope::write_body(&body, from, now, &mut SystemRng)?;
                    Zeroizing::new(std::mem::take(&mut *envelope).into_bytes())
                }
                (Plaintext::Body(body), Namespace::Legacy) => Zeroizing::new(body.as_bytes().to_vec()),
            };
            plaintexts.push((namespace, bytes));
        }
        let first = self.recipients.first().map(|jid| jid.as_str().to_owned());
        Ok(Draft {
            recipients: self.recipients,
            plaintexts,
            key_transport: self.key_transport,
            policy: self.policy,
            namespaces: self.namespaces,
            context: self.context.or(first),
        })
    }
}

/// ## 11 Encrypt
///
/// An empty draft. It may be used again and again.
/// Returns: never NULL, save after a bug of this library.
/// Memory: free it by omemo_draft_free.
/// Since: 0.1.0
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn omemo_draft_new() -> *mut omemo_draft {
    guard::call(std::ptr::null_mut(), || handles::into_handle(omemo_draft::default()))
}

/// Free a draft. Operations that were started with it go on. What it said is wiped.
/// Parameters:
/// - draft: the draft; NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_draft_free(draft: *mut omemo_draft) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_handle(draft) });
}

/// Add a recipient. The own other devices are always added by themselves. Twice is once.
/// Parameters:
/// - draft: the draft.
/// - jid: a bare JID.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_draft_add_recipient(
    draft: Option<&mut omemo_draft>,
    jid: *const c_char,
) -> omemo_status {
    guard::status(|| {
        args::required(draft)?.set(|draft| {
            // SAFETY: the client gives a C string or NULL.
            let jid = unsafe { args::required_jid(jid) }?;
            if !draft.recipients.contains(&jid) {
                draft.recipients.push(jid);
            }
            Ok(())
        })
    })
}

/// Take a recipient off again: the way to "send without Mercutio" after OMEMO_ERR_NO_ELIGIBLE_DEVICES. One
/// that is no recipient is none afterwards, either.
/// Parameters:
/// - draft: the draft.
/// - jid: a bare JID.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_draft_remove_recipient(
    draft: Option<&mut omemo_draft>,
    jid: *const c_char,
) -> omemo_status {
    guard::status(|| {
        args::required(draft)?.set(|draft| {
            // SAFETY: the client gives a C string or NULL.
            let jid = unsafe { args::required_jid(jid) }?;
            draft.recipients.retain(|recipient| *recipient != jid);
            Ok(())
        })
    })
}

/// The bytes to encrypt in one namespace, instead of what was set for it before. OMEMO_NS_2 wants an SCE
/// envelope (XEP-0420), OMEMO_NS_LEGACY the text of the body; omemo_draft_set_body does both.
/// Parameters:
/// - draft: the draft.
/// - ns: the namespace.
/// - bytes: what to encrypt.
/// - len: their number, 1 to 1 MiB.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_UNKNOWN_NAMESPACE, OMEMO_ERR_PLAINTEXT (empty),
///   OMEMO_ERR_LIMIT.
/// Memory: the bytes are copied; the copy is wiped.
/// Since: 0.1.0 (XEP-0384 4.4)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_draft_set_plaintext(
    draft: Option<&mut omemo_draft>,
    ns: *const c_char,
    bytes: *const u8,
    len: usize,
) -> omemo_status {
    guard::status(|| {
        args::required(draft)?.set(|draft| {
            // SAFETY: the client gives a C string or NULL.
            let namespace = unsafe { args::namespace(ns) }?;
            // SAFETY: the client gives len bytes or NULL.
            let bytes = unsafe { args::bytes(bytes, len, limits::STANZA_BYTES) }?;
            if bytes.is_empty() {
                return Err(Status::Plaintext.into());
            }
            draft.say(namespace, Plaintext::Bytes(Zeroizing::new(bytes.to_vec())));
            Ok(())
        })
    })
}

/// The text of a chat message, in every namespace, instead of what was set before. In OMEMO_NS_2 it is put
/// into an SCE envelope with padding, sender and time (XEP-0420); in OMEMO_NS_LEGACY it is the body, and nothing else
/// is protected there.
/// Parameters:
/// - draft: the draft.
/// - text: what to say; not empty, and only of characters that XML can carry.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_ARGUMENT (characters), OMEMO_ERR_PLAINTEXT (empty),
///   OMEMO_ERR_LIMIT.
/// Memory: the text is copied; the copy is wiped.
/// Since: 0.1.0 (XEP-0384 4.4, XEP-0420)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_draft_set_body(
    draft: Option<&mut omemo_draft>,
    text: *const c_char,
) -> omemo_status {
    guard::status(|| {
        args::required(draft)?.set(|draft| {
            // SAFETY: the client gives a C string or NULL.
            let body = unsafe { args::text(text) }?;
            if body.is_empty() {
                return Err(Status::Plaintext.into());
            }
            envelope::check_text(body)?;
            for namespace in Namespace::ALL {
                draft.say(namespace, Plaintext::Body(Zeroizing::new(body.to_owned())));
            }
            Ok(())
        })
    })
}

/// No content, instead of what was set before: transport a fresh key, which omemo_result_key gives, as JET
/// (XEP-0396) wants it. Content that is set afterwards takes its place. Only OMEMO_NS_LEGACY knows key transport; a
/// message without payload in OMEMO_NS_2 tells its receiver nothing. So the key goes out in the former alone, also
/// where the latter is preferred; devices that have only the latter are rows OMEMO_ERR_UNKNOWN_NAMESPACE.
/// omemo_manager_encrypt says OMEMO_ERR_PLAINTEXT if the configuration lacks OMEMO_NS_LEGACY, or if
/// omemo_draft_set_namespaces named OMEMO_NS_2. Trust is asked as for content.
/// Parameters:
/// - draft: the draft.
/// Returns: OMEMO_ERR_NULL.
/// Since: 0.1.0 (XEP-0384 0.3 4.6, XEP-0396)
#[unsafe(no_mangle)]
pub extern "C" fn omemo_draft_set_key_transport(draft: Option<&mut omemo_draft>) -> omemo_status {
    guard::status(|| {
        args::required(draft)?.set(|draft| {
            draft.plaintexts.clear();
            draft.key_transport = true;
            Ok(())
        })
    })
}

/// What to do about devices that are not ready. Unless set: OMEMO_ENCRYPT_WAIT.
/// Parameters:
/// - draft: the draft.
/// - policy: an omemo_encrypt_policy.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_draft_set_policy(draft: Option<&mut omemo_draft>, policy: i32) -> omemo_status {
    guard::status(|| {
        args::required(draft)?.set(|draft| {
            let policies = [EncryptPolicy::Wait, EncryptPolicy::Now, EncryptPolicy::All];
            let found = policies.into_iter().find(|known| *known as i32 == policy);
            draft.policy = found.ok_or(Error::new(Status::Argument, "This is no omemo_encrypt_policy."))?;
            Ok(())
        })
    })
}

/// Which namespaces to use for this draft, most preferred first. Unless set: those of the configuration. Devices that
/// announce only others are not served; the report has a row OMEMO_ERR_UNKNOWN_NAMESPACE for each that is known.
/// Parameters:
/// - draft: the draft.
/// - namespaces: count names, each once, among those of the configuration.
/// - count: their number, at least 1.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_ARGUMENT, OMEMO_ERR_UNKNOWN_NAMESPACE.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_draft_set_namespaces(
    draft: Option<&mut omemo_draft>,
    namespaces: *const *const c_char,
    count: usize,
) -> omemo_status {
    guard::status(|| {
        args::required(draft)?.set(|draft| {
            // SAFETY: the client gives count C strings or NULL.
            draft.namespaces = Some(unsafe { args::namespaces(namespaces, count) }?);
            Ok(())
        })
    })
}

/// A word of yours that decide_trust and omemo_result_context show, as the name of a chat. Unless set: the
/// first recipient.
/// Parameters:
/// - draft: the draft.
/// - context: the word.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_UTF8.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_draft_set_context(
    draft: Option<&mut omemo_draft>,
    context: *const c_char,
) -> omemo_status {
    guard::status(|| {
        args::required(draft)?.set(|draft| {
            // SAFETY: the client gives a C string or NULL.
            draft.context = Some(unsafe { args::text(context) }?.to_owned());
            Ok(())
        })
    })
}

/// Starts to encrypt: fetches and asks what is missing, then makes one commit, then gives the result. Encryptions
/// with WAIT or ALL for the same set of recipients complete in the order in which they were started. While offline
/// they wait for the next omemo_manager_connected, at most 1,000 of them.
///
/// The rows of the report: one for each device that is served (OMEMO_OK) or not, one for each recipient that gets
/// nothing, and one with device 0 and a namespace for each list that may be outdated (OMEMO_ERR_OFFLINE,
/// OMEMO_ERR_DEVICE_LIST_DOWNLOAD_FAILED, OMEMO_ERR_TIMEOUT, OMEMO_ERR_MALFORMED, OMEMO_ERR_LIMIT): the list known
/// from before was used, and a new device may be missing. OMEMO_ERR_MALFORMED is also the row of an id outside of 1 to
/// 2^31-1 (device 0 if it is greater than 2^32-1, or no number); OMEMO_ERR_STORAGE_CORRUPT that of a device, or of
/// a JID, whose record cannot be read, while all others are served.
/// Parameters:
/// - manager: the manager.
/// - draft: what to encrypt; copied.
/// - done: called when it is over. NULL: if op is given, the result waits for omemo_manager_wait.
/// - user_data: goes to done; any pointer. Stays yours if this call fails.
/// - op: gets the number of the operation; may be NULL.
/// Returns: OMEMO_OK: it was started. OMEMO_ERR_NULL, OMEMO_ERR_BUSY inside a service, OMEMO_ERR_CANCELLED,
///   the first failure of the draft's setters, OMEMO_ERR_UNKNOWN_NAMESPACE, OMEMO_ERR_PLAINTEXT (a namespace of
///   the draft has no plaintext, or no key transport), OMEMO_ERR_LIMIT (1,000 encryptions wait for a stream),
///   OMEMO_ERR_NOT_READY, OMEMO_ERR_STORAGE*. It completes
///   with OMEMO_OK, with a row for each device, served or why not, and with omemo_result_message. If a recipient
///   gets nothing, nobody does: OMEMO_ERR_NO_ELIGIBLE_DEVICES, and rows with device 0 name whom. Further:
///   OMEMO_ERR_STILL_UNDECIDED, OMEMO_ERR_TRUST_DECISION_FAILED, OMEMO_ERR_STORAGE*.
/// Since: 0.1.0 (XEP-0384 5.5)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_manager_encrypt(
    manager: *mut omemo_manager,
    draft: *const omemo_draft,
    done: omemo_done,
    user_data: *mut c_void,
    op: *mut omemo_op,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let manager = unsafe { manager_handle::enter(manager) }?;
        // SAFETY: as above. It is a copy, for the clock is a service, which may free the draft.
        let draft = unsafe { args::copied(draft, omemo_draft::clone) }?;
        let draft = draft.finish(manager.jid(), manager.now())?;
        // SAFETY: the client gives a place or NULL.
        let op = unsafe { Out::new(op) };
        let completion = Completion::new(done, user_data, op.is_some());
        manager.start(completion, op, |manager, op| manager.encrypt(op, draft))
    })
}
