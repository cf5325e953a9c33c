//! Section 8 of the header: answers to requests.

use super::super::boundary::{args, guard};
use super::super::runtime::calls;
use super::bundle::omemo_bundle;
use super::callbacks::omemo_request;
use super::device_list::omemo_device_list;
use super::status::omemo_status;
use crate::error::{Error, Result, Status};
use crate::manager::api::request::{Answer, Reason, Request};
use crate::protocol::address::{BareJid, DeviceId};
use crate::protocol::bundle::Bundle;
use crate::protocol::namespace::Namespace;
use crate::protocol::stanza_error::{Condition, StanzaError};
use crate::stanza::pep::answer::{self, Asked};
use std::ffi::c_char;

/// Reasons for omemo_request_reject. The reason decides what happens next.
#[repr(i32)]
pub enum omemo_reject_reason {
    /// The server answered item-not-found; use this reason for nothing else. A missing device list counts as empty,
    /// a missing bundle as deleted.
    OMEMO_REJECT_NOT_FOUND = 1,
    /// The server answered with any other error, or with something that makes no sense.
    OMEMO_REJECT_FAILED = 2,
    /// The server did not answer.
    OMEMO_REJECT_TIMEOUT = 3,
    /// The stream broke. The library makes the request again after the next omemo_manager_connected, or when the
    /// time of this request is up.
    OMEMO_REJECT_OFFLINE = 4,
    /// The user closed the dialog (decide_trust), or does not want this message to be sent (send_message) or this
    /// bundle to be deleted (delete_bundle).
    OMEMO_REJECT_DECLINED = 5,
}

/// Returns the meaning of an answer in XML.
fn meaning<T>(answer: answer::Answer<T>, found: impl FnOnce(T) -> Answer) -> Result<Answer> {
    Ok(match answer {
        answer::Answer::Found(thing) => found(thing),
        answer::Answer::NotFound => Answer::Rejected(Reason::NotFound),
        answer::Answer::Refused(error) => Answer::Refused(error),
        answer::Answer::Unreadable(error) => Answer::Unreadable(error),
        answer::Answer::Wrong => return Err(Status::WrongAnswer.into()),
    })
}

/// Reads the answer to a request of this account.
fn read(request: &Request, account: &BareJid, xml: &[u8]) -> Result<Answer> {
    let about = |jid, node| Asked { account, jid, node, item: None };
    let id = |device: &DeviceId| device.get().to_string();
    match request {
        Request::DecideTrust { .. } => Err(Status::WrongAnswer.into()),
        Request::FetchDeviceList { namespace, jid } => {
            let asked = about(jid, Some(namespace.device_list_node()));
            meaning(answer::device_list(xml, *namespace, &asked), Answer::DeviceList)
        }
        Request::PublishDeviceList { list } => {
            let asked = about(account, Some(list.namespace.device_list_node()));
            meaning(answer::done(xml, &asked), |()| Answer::Done)
        }
        Request::SendMessage { jid, .. } => meaning(answer::done(xml, &about(jid, None)), |()| Answer::Done),
        Request::FetchBundle { namespace, jid, device } => {
            let (node, id) = (namespace.bundle_node(device.get()), id(device));
            let item = (*namespace == Namespace::Omemo2).then_some(id.as_str());
            let asked = Asked { item, ..about(jid, Some(&node)) };
            meaning(answer::bundle(xml, *namespace, device.get(), &asked), Answer::Bundle)
        }
        Request::PublishBundle { device, bundle: Bundle { namespace, .. } }
        | Request::DeleteBundle { device, namespace } => {
            let (node, id) = (namespace.bundle_node(device.get()), id(device));
            let item = (*namespace == Namespace::Omemo2).then_some(id.as_str());
            let asked = Asked { item, ..about(account, Some(&node)) };
            match meaning(answer::done(xml, &asked), |()| Answer::Done)? {
                // What is not there need not be deleted.
                Answer::Refused(StanzaError { condition: Some(Condition::ItemNotFound), .. })
                    if matches!(request, Request::DeleteBundle { .. }) =>
                {
                    Ok(Answer::Rejected(Reason::NotFound))
                }
                answer => Ok(answer),
            }
        }
    }
}

/// Resolves a request as done: published, deleted, sent, or (after omemo_request_decide) decided. The next
/// omemo_manager_run commits the answer, and the operations that need it continue.
/// Parameters:
/// - request: of publish_device_list, publish_bundle, delete_bundle, send_message or decide_trust.
/// Returns: OMEMO_OK; OMEMO_ERR_STALE if the request was answered or withdrawn, or its manager freed;
///   OMEMO_ERR_WRONG_ANSWER for another kind of request, which stays open, so that the function for its kind can
///   still answer it; OMEMO_ERR_BUSY inside a service.
/// Threads: any; needs no manager, which may have been freed.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_request_resolve(request: omemo_request) -> omemo_status {
    guard::outside_services(|| calls::answer(request, Answer::Done))
}

/// Resolves a request with the XML that the server sent. The next omemo_manager_run commits the answer, and the
/// operations that need it continue.
///
/// Of a whole `<iq>` the library checks that it answers this request: that it is a result or an error, comes from
/// the JID that was asked (from its bare JID; for nodes of this account also without `from`, or from a full JID of
/// this account), and is about the same node and item. Of several items the one with the id `current` counts, else
/// the newest, which XEP-0060 puts last; of this account's own device list all items count.
///
/// Parameters:
/// - request: of a fetch, publish_device_list, publish_bundle, delete_bundle or send_message.
/// - xml: the whole `<iq>`; for a fetch also the element itself, its `<item>`, `<items>` or `<pubsub>`, if the
///   client has checked the sender. Pass an `<iq>` of type error, too: the library tells item-not-found from other
///   errors and keeps the server's text. Unreadable XML is no failure of this call: it counts as the server's
///   answer.
/// - len: bytes of xml, without a NUL.
/// Returns: as omemo_request_resolve; OMEMO_ERR_WRONG_ANSWER also for an `<iq>` from another sender, or about
///   another node or item: the request stays open. Drop the `<iq>` and wait for the reply; but if the `<iq>` comes
///   from the JID that was asked and has the id of the client's own iq, it was the reply: reject with
///   OMEMO_REJECT_FAILED. OMEMO_ERR_NULL; OMEMO_ERR_ARGUMENT (len is greater than any object).
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
        let xml = match unsafe { args::xml(xml, len) } {
            Ok(xml) => Some(xml),
            Err(error) if error.status() == Status::Limit => None,
            Err(error) => return Err(error),
        };
        let manager = calls::enter_by_request(request)?;
        let asked = manager.manager().request(request)?;
        let answer = match (asked, xml) {
            (Request::DecideTrust { .. }, _) => return Err(Status::WrongAnswer.into()),
            (_, None) => {
                Answer::Unreadable(Error::new(Status::Limit, "The answer is longer than a stanza may be."))
            }
            (asked, Some(xml)) => read(&asked, manager.manager().jid(), xml)?,
        };
        manager.answer(request, answer)
    })
}

/// Resolves a fetch_device_list request with a device list. The next omemo_manager_run commits the answer, and the
/// operations that need it continue.
/// Parameters:
/// - request: of fetch_device_list.
/// - list: the device list that the JID announces in the namespace of the request.
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
        calls::answer(request, Answer::DeviceList(list))
    })
}

/// Resolves a fetch_bundle request with a bundle. The next omemo_manager_run commits the answer, and the operations
/// that need it continue.
/// Parameters:
/// - request: of fetch_bundle.
/// - bundle: the bundle that the device publishes in the namespace of the request.
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
        calls::answer(request, Answer::Bundle(bundle))
    })
}

/// Adds one trust decision to the answer to a decide_trust request. omemo_request_resolve then completes the
/// answer: all decisions are committed together, and a device without decision stays undecided. The decision is
/// about the key that the request showed, even if the device shows another one meanwhile. A later
/// omemo_manager_set_trust for the same key has precedence, whenever this answer is committed.
/// Parameters:
/// - request: of decide_trust.
/// - index: position of the device in the undecided list of the request, from 0.
/// - level: name of a trust level, 1 to 256 bytes; checked at once.
/// Returns: as omemo_request_resolve; OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_ARGUMENT (index),
///   OMEMO_ERR_UNKNOWN_TRUST_LEVEL.
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
        calls::enter_by_request(request)?.manager().decide(request, index, &level)
    })
}

/// Rejects a request; the reason decides what happens next. OMEMO_REJECT_NOT_FOUND is an answer: there is no such
/// item. After OMEMO_REJECT_FAILED and OMEMO_REJECT_TIMEOUT an operation goes on without what was to be fetched and
/// reports a row, and what was to be published, sent or deleted is tried again later. After OMEMO_REJECT_OFFLINE
/// the library makes a network request again, see there. After OMEMO_REJECT_DECLINED a message or a deletion is
/// dropped. Any rejection of decide_trust ends the encryption with OMEMO_ERR_TRUST_DECISION_FAILED.
/// Parameters:
/// - request: of any kind.
/// - reason: an omemo_reject_reason.
/// Returns: as omemo_request_resolve; OMEMO_ERR_ARGUMENT (reason).
/// Threads: any; needs no manager, which may have been freed.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_request_reject(request: omemo_request, reason: i32) -> omemo_status {
    guard::outside_services(|| calls::answer(request, Answer::Rejected(omemo_reject_reason::decode(reason)?)))
}
