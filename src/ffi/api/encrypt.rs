//! Section 11 of the header: drafts and encryption.

use super::super::boundary::{args, guard, handles};
use super::super::runtime::calls;
use super::super::runtime::manager_handle::omemo_manager;
use super::operations::{omemo_done, omemo_op};
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

/// Policies of an encryption for devices that are not ready, for omemo_draft_set_policy. Under every policy a
/// recipient device without the message is a row of the report.
#[repr(i32)]
pub enum omemo_encrypt_policy {
    /// Waits until everything is fetched and decided, then encrypts for the devices that are ready and reports the
    /// others. Offline, it waits for the next stream.
    OMEMO_ENCRYPT_WAIT = 0,
    /// Encrypts at once for the devices that are ready, makes no requests, and reports the others; works offline,
    /// too, but not before the first omemo_manager_connected of the manager has compared this device with the server
    /// (OMEMO_ERR_OFFLINE). It may overtake
    /// encryptions that wait.
    OMEMO_ENCRYPT_NOW = 1,
    /// Waits as OMEMO_ENCRYPT_WAIT does, and fails unless every device list is up to date and the message was
    /// encrypted for every active device that is not distrusted. Offline, it waits for the next stream.
    OMEMO_ENCRYPT_ALL = 2,
}

/// Draft of a message: the content, the recipients and the policy, for omemo_manager_encrypt.
///
/// Create it with omemo_draft_new, add recipients, set the content with one of omemo_draft_set_body,
/// omemo_draft_set_plaintext and omemo_draft_set_key_transport, and pass it to omemo_manager_encrypt, which copies
/// it. Setters return a status that you may ignore: the draft keeps the first failure, and omemo_manager_encrypt
/// returns it. A draft can be changed and used again; free it with omemo_draft_free.
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

/// The content for one namespace.
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

/// Creates an empty draft. A draft can be used for several encryptions.
/// Returns: the draft; NULL only after a bug in this library.
/// Memory: free it with omemo_draft_free.
/// Since: 0.1.0
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn omemo_draft_new() -> *mut omemo_draft {
    guard::call(std::ptr::null_mut(), || handles::into_handle(omemo_draft::default()))
}

/// Frees a draft and wipes its content. Operations that were started with it continue.
/// Parameters:
/// - draft: NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_draft_free(draft: *mut omemo_draft) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_handle(draft) });
}

/// Adds a recipient. The message is always encrypted for the other devices of this account, too, which need not be
/// added; in a draft without recipients for them alone. Adding a recipient again has no effect.
///
/// For a room add the real bare JID of each member, admin and owner, from the affiliation lists of the room (XEP-0045);
/// not the room's JID, nor the JIDs of occupants. If the room hides the real JIDs, nothing can be encrypted for it
/// (docs/stanzas.md).
///
/// Parameters:
/// - jid: a bare JID.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID.
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

/// Removes a recipient, so that the message can be sent without that JID after OMEMO_ERR_NO_ELIGIBLE_DEVICES.
/// Removing a JID that is no recipient has no effect.
/// Parameters:
/// - jid: a bare JID.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID.
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

/// Sets the bytes to encrypt in one namespace, in place of the content that was set for it before. OMEMO_NS_2 needs
/// an SCE envelope (XEP-0420), OMEMO_NS_LEGACY the text of the body; omemo_draft_set_body makes both.
/// Parameters:
/// - ns: the namespace.
/// - bytes: the plaintext. Copied; the copy is wiped.
/// - len: number of bytes, 1 to 1,048,576.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_UNKNOWN_NAMESPACE, OMEMO_ERR_PLAINTEXT (empty),
///   OMEMO_ERR_LIMIT.
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

/// Sets the text of a chat message in every namespace, in place of the content that was set before. In OMEMO_NS_2
/// it becomes an SCE envelope with padding, sender and time (XEP-0420); in OMEMO_NS_LEGACY it is the body, and
/// nothing else is protected there.
/// Parameters:
/// - text: not empty, and only of characters that XML can represent. Copied; the copy is wiped.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_ARGUMENT (characters), OMEMO_ERR_PLAINTEXT (empty),
///   OMEMO_ERR_LIMIT.
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

/// Makes the draft a key transport, in place of the content that was set before: the message has no content and
/// transports a fresh key, which omemo_result_key returns, as JET (XEP-0396) needs it. Content that is set later
/// takes its place.
///
/// Only OMEMO_NS_LEGACY has key transports; in OMEMO_NS_2 a message without payload tells its receiver nothing. So
/// the key is sent in OMEMO_NS_LEGACY only, even if OMEMO_NS_2 is preferred, and devices that have only OMEMO_NS_2
/// are rows with OMEMO_ERR_UNKNOWN_NAMESPACE. omemo_manager_encrypt returns OMEMO_ERR_PLAINTEXT if the
/// configuration lacks OMEMO_NS_LEGACY, or if omemo_draft_set_namespaces named OMEMO_NS_2. Trust is needed as for
/// content.
///
/// Returns: OMEMO_OK, OMEMO_ERR_NULL.
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

/// Sets the policy for devices that are not ready. The default is OMEMO_ENCRYPT_WAIT.
/// Parameters:
/// - policy: an omemo_encrypt_policy.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_draft_set_policy(draft: Option<&mut omemo_draft>, policy: i32) -> omemo_status {
    guard::status(|| {
        args::required(draft)?.set(|draft| {
            draft.policy = omemo_encrypt_policy::decode(policy)?;
            Ok(())
        })
    })
}

/// Sets the namespaces for this draft, most preferred first. The default is those of the configuration. Nothing is
/// encrypted for devices that announce only other namespaces; each of them that is known is a row with
/// OMEMO_ERR_UNKNOWN_NAMESPACE.
/// Parameters:
/// - namespaces: an array of count names, each of them once, from those of the configuration.
/// - count: at least 1.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_ARGUMENT, OMEMO_ERR_UNKNOWN_NAMESPACE.
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

/// Sets a word of your own, such as the name of the chat, which decide_trust receives and omemo_result_context returns.
/// The default is the first recipient; without recipients there is none.
/// Parameters:
/// - context: the word.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_UTF8.
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

/// Starts an encryption: fetches the missing device lists and bundles, asks for missing trust decisions, encrypts
/// in one commit, and ends with the messages to send.
///
/// What happens next: omemo_manager_run calls fetch_device_list, fetch_bundle and decide_trust as needed, then
/// done. Send each omemo_result_message in a stanza of its own, to the contact or the room, or if there are no
/// recipients to this account; show the rows that are not OMEMO_OK, if the user cares.
/// Encryptions with OMEMO_ENCRYPT_WAIT or OMEMO_ENCRYPT_ALL for the same set of recipients end in the order in
/// which they were started. Offline they wait for the next omemo_manager_connected, at most 1,000 of them.
///
/// The report has one row for each recipient device, with OMEMO_OK if the message was encrypted for it; one for
/// each recipient that gets nothing; and one with device 0 and a namespace for each device list that may be
/// outdated (OMEMO_ERR_OFFLINE, OMEMO_ERR_DEVICE_LIST_DOWNLOAD_FAILED, OMEMO_ERR_TIMEOUT, OMEMO_ERR_MALFORMED,
/// OMEMO_ERR_LIMIT): the list known from before was used, and a new device may be missing. OMEMO_ERR_MALFORMED is
/// also the row of a device id outside of 1 to 2^31-1 (with device 0 if it is greater than 2^32-1, or no number),
/// and OMEMO_ERR_STORAGE_CORRUPT the row of a device, or of a JID, whose record cannot be read; the message is
/// encrypted for all others.
///
/// Parameters:
/// - draft: copied.
/// - done: called at the end of the operation. NULL: if op is given, the result is kept for omemo_manager_wait.
/// - user_data: any pointer; passed to done. Stays yours if this call fails.
/// - op: receives the number of the operation; may be NULL.
/// Returns: OMEMO_OK if the operation was started, OMEMO_ERR_NULL, OMEMO_ERR_BUSY inside a service,
///   OMEMO_ERR_CANCELLED, the first failure of the draft's setters, OMEMO_ERR_UNKNOWN_NAMESPACE,
///   OMEMO_ERR_PLAINTEXT (a namespace of the draft has no plaintext, or no key transport), OMEMO_ERR_LIMIT (1,000
///   encryptions wait for a stream), OMEMO_ERR_NOT_READY, OMEMO_ERR_STORAGE*. The operation ends with OMEMO_OK, the
///   rows and the messages; with OMEMO_OK and no message, if the draft has no recipients and this account has no
///   other device. If one recipient gets nothing, there is no message: OMEMO_ERR_NO_ELIGIBLE_DEVICES, and rows with
///   device 0 name these recipients. It can also end with OMEMO_ERR_OFFLINE
///   (OMEMO_ENCRYPT_NOW), OMEMO_ERR_STILL_UNDECIDED,
///   OMEMO_ERR_TRUST_DECISION_FAILED, OMEMO_ERR_STORAGE*.
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
        let manager = unsafe { calls::enter(manager) }?;
        // SAFETY: as above. It is a copy, for the clock is a service, which may free the draft.
        let draft = unsafe { args::copied(draft, omemo_draft::clone) }?;
        let draft = draft.finish(manager.jid(), manager.now())?;
        // SAFETY: the client gives a place or NULL.
        unsafe { manager.start_for(done, user_data, op, |manager, op| manager.encrypt(op, draft)) }
    })
}
