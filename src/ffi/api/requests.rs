//! Section 8 of the header: answers to questions.

use super::super::boundary::{args, guard};
use super::super::runtime::manager_handle;
use super::bundle::omemo_bundle;
use super::callbacks::omemo_request;
use super::device_list::omemo_device_list;
use super::status::omemo_status;
use crate::error::{Error, Result, Status};
use crate::manager::api::question::{Answer, Question, Reason};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::bundle::Bundle;
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;
use crate::protocol::stanza_error::{Condition, StanzaError};
use crate::stanza::pep::answer::{self, Asked};
use std::ffi::c_char;

/// ## 8 Requests
///
/// Why a question has no answer.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum omemo_reject_reason {
    /// The server said item-not-found, and nothing else means this. A device list that is not there counts as
    /// empty, a bundle that is not there as deleted.
    OMEMO_REJECT_NOT_FOUND = 1,
    /// Any other error, or an answer that makes no sense.
    OMEMO_REJECT_FAILED = 2,
    /// No answer.
    OMEMO_REJECT_TIMEOUT = 3,
    /// The stream broke. Asked again after the next omemo_manager_connected, or when the time of this
    /// question is up.
    OMEMO_REJECT_OFFLINE = 4,
    /// The user closed the dialog (decide_trust), or does not want this message to be sent (send_message)
    /// or this bundle to be deleted (delete_bundle).
    OMEMO_REJECT_DECLINED = 5,
}

/// The reason with this number.
fn reason(number: i32) -> Result<Reason> {
    use omemo_reject_reason::{
        OMEMO_REJECT_DECLINED, OMEMO_REJECT_FAILED, OMEMO_REJECT_NOT_FOUND, OMEMO_REJECT_OFFLINE,
        OMEMO_REJECT_TIMEOUT,
    };
    let reasons = [
        (OMEMO_REJECT_NOT_FOUND, Reason::NotFound),
        (OMEMO_REJECT_FAILED, Reason::Failed),
        (OMEMO_REJECT_TIMEOUT, Reason::Timeout),
        (OMEMO_REJECT_OFFLINE, Reason::Offline),
        (OMEMO_REJECT_DECLINED, Reason::Declined),
    ];
    let found = reasons.into_iter().find(|(c, _)| *c as i32 == number);
    found.map(|(_, reason)| reason).ok_or(Error::new(Status::Argument, "This is no omemo_reject_reason."))
}

/// What an answer in XML means.
fn meaning<T>(answer: answer::Answer<T>, found: impl FnOnce(T) -> Answer) -> Result<Answer> {
    Ok(match answer {
        answer::Answer::Found(thing) => found(thing),
        answer::Answer::NotFound => Answer::Rejected(Reason::NotFound),
        answer::Answer::Refused(error) => Answer::Refused(error),
        answer::Answer::Unreadable(error) => Answer::Unreadable(error),
        answer::Answer::Wrong => return Err(Status::WrongAnswer.into()),
    })
}

/// Reads the answer to a question of this account.
fn read(question: &Question, account: &BareJid, xml: &[u8]) -> Result<Answer> {
    let about = |jid, node| Asked { account, jid, node, item: None };
    let id = |device: &DeviceId| device.get().to_string();
    match question {
        Question::DecideTrust { .. } => Err(Status::WrongAnswer.into()),
        Question::FetchDeviceList { namespace, jid } => {
            let asked = about(jid, Some(namespace.device_list_node()));
            meaning(answer::device_list(xml, *namespace, &asked), Answer::DeviceList)
        }
        Question::PublishDeviceList { list } => {
            let asked = about(account, Some(list.namespace.device_list_node()));
            meaning(answer::done(xml, &asked), |()| Answer::Done)
        }
        Question::SendMessage { jid, .. } => meaning(answer::done(xml, &about(jid, None)), |()| Answer::Done),
        Question::FetchBundle { namespace, jid, device } => {
            let (node, id) = (namespace.bundle_node(device.get()), id(device));
            let item = (*namespace == Namespace::Omemo2).then_some(id.as_str());
            let asked = Asked { item, ..about(jid, Some(&node)) };
            meaning(answer::bundle(xml, *namespace, device.get(), &asked), Answer::Bundle)
        }
        Question::PublishBundle { device, bundle: Bundle { namespace, .. } }
        | Question::DeleteBundle { device, namespace } => {
            let (node, id) = (namespace.bundle_node(device.get()), id(device));
            let item = (*namespace == Namespace::Omemo2).then_some(id.as_str());
            let asked = Asked { item, ..about(account, Some(&node)) };
            match meaning(answer::done(xml, &asked), |()| Answer::Done)? {
                // What is not there need not be deleted.
                Answer::Refused(StanzaError { condition: Some(Condition::ItemNotFound), .. })
                    if matches!(question, Question::DeleteBundle { .. }) =>
                {
                    Ok(Answer::Rejected(Reason::NotFound))
                }
                answer => Ok(answer),
            }
        }
    }
}

/// ## 8 Requests
///
/// Done: published, sent, or (after omemo_request_decide) judged.
/// Parameters:
/// - request: the question: publish_device_list, publish_bundle, delete_bundle, send_message or decide_trust.
/// Returns: OMEMO_ERR_STALE when it was answered or withdrawn, or the manager freed; OMEMO_ERR_WRONG_ANSWER,
///   the question stays open then; OMEMO_ERR_BUSY inside a service.
/// Threads: any; needs no manager, which may have been freed.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_request_resolve(request: omemo_request) -> omemo_status {
    guard::outside_services(|| manager_handle::answer(request, Answer::Done))
}

/// Answer by what the server sent. Of a whole `<iq>` the library checks that it is an answer to this question:
/// that it is a result or an error, comes from where the question went (from the bare JID that was asked; about
/// this account's own nodes also without `from`, or from a full JID of this account), and is about the same node and
/// item. Of several items the one with the id `current` counts, else the newest, which XEP-0060 puts last; of this
/// account's own device list all.
/// Parameters:
/// - request: the question: a fetch, publish_device_list, publish_bundle, delete_bundle or send_message.
/// - xml: the whole `<iq>`; for a fetch also the element, its `<item>`, `<items>` or `<pubsub>`, whose sender the
///   client has checked. An `<iq>` of type error is welcome: the library tells item-not-found from the rest, and
///   keeps what the server says. Bytes that cannot be read are no failure of this call, but the answer that the
///   server sent such.
/// - len: its bytes, without a NUL.
/// Returns: as omemo_request_resolve; OMEMO_ERR_WRONG_ANSWER also for an `<iq>` from another sender, or about another
///   node or item: the question stays open; OMEMO_ERR_NULL; OMEMO_ERR_ARGUMENT (no object has this many bytes).
/// Memory: the bytes are copied.
/// Threads: any; needs no manager, which may have been freed.
/// Since: 0.1.0 (XEP-0060, XEP-0384 5.3)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_request_resolve_xml(
    request: omemo_request,
    xml: *const c_char,
    len: usize,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives len bytes or NULL.
        let xml = match unsafe { args::bytes(xml.cast(), len, limits::STANZA_BYTES) } {
            Ok(xml) => Some(xml),
            Err(error) if error.status() == Status::Limit => None,
            Err(error) => return Err(error),
        };
        let manager = manager_handle::enter_by_request(request)?;
        let question = manager.manager().question(request)?;
        let answer = match (question, xml) {
            (Question::DecideTrust { .. }, _) => return Err(Status::WrongAnswer.into()),
            (_, None) => {
                Answer::Unreadable(Error::new(Status::Limit, "The answer is longer than a stanza may be."))
            }
            (question, Some(xml)) => read(&question, manager.manager().jid(), xml)?,
        };
        manager_handle::answer_to(&manager, request, answer)
    })
}

/// Answer fetch_device_list by a structure.
/// Parameters:
/// - request: the question.
/// - list: what the JID announces, in the namespace that was asked about.
/// Returns: as omemo_request_resolve; OMEMO_ERR_NULL.
/// Memory: the list is copied.
/// Threads: any; needs no manager, which may have been freed.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_request_resolve_device_list(
    request: omemo_request,
    list: *const omemo_device_list,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let list = unsafe { args::copied(list, |list| list.list().clone()) }?;
        manager_handle::answer(request, Answer::DeviceList(list))
    })
}

/// Answer fetch_bundle by a structure.
/// Parameters:
/// - request: the question.
/// - bundle: what the device publishes, in the namespace that was asked about.
/// Returns: as omemo_request_resolve; OMEMO_ERR_NULL.
/// Memory: the bundle is copied.
/// Threads: any; needs no manager, which may have been freed.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_request_resolve_bundle(
    request: omemo_request,
    bundle: *const omemo_bundle,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let bundle = unsafe { args::copied(bundle, |bundle| bundle.bundle().clone()) }?;
        manager_handle::answer(request, Answer::Bundle(bundle))
    })
}

/// Note one answer to decide_trust. All are committed together after omemo_request_resolve; a device left out
/// stays undecided. What is judged is the key that was asked about, whatever happened since.
/// Parameters:
/// - request: the question.
/// - index: of the device in the list that was asked about.
/// - level: the name of a level, 1 to 256 bytes, which is checked at once. A later omemo_manager_set_trust for the same
///   key counts more, whenever this answer is committed.
/// Returns: as omemo_request_resolve; OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_ARGUMENT (no device has this
///   index), OMEMO_ERR_UNKNOWN_TRUST_LEVEL.
/// Threads: any; needs no manager, which may have been freed.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_request_decide(
    request: omemo_request,
    index: usize,
    level: *const c_char,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives a C string or NULL.
        let level = unsafe { args::text(level) }?.to_owned();
        manager_handle::enter_by_request(request)?.manager().decide(request, index, &level)
    })
}

/// There is no answer.
/// Parameters:
/// - request: the question.
/// - reason: an omemo_reject_reason.
/// Returns: as omemo_request_resolve; OMEMO_ERR_ARGUMENT (reason).
/// Threads: any; needs no manager, which may have been freed.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_request_reject(request: omemo_request, reason: i32) -> omemo_status {
    guard::outside_services(|| manager_handle::answer(request, Answer::Rejected(self::reason(reason)?)))
}
