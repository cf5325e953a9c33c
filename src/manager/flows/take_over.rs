//! Answers are taken over in the order in which they were given, before any task goes on: a device list that takes a
//! device off counts for every encryption that is not finished, whoever asked for it. So does what was answered before
//! the stream broke or its operation was cancelled.

use super::super::api::request::Answer;
use super::super::engine::{Noted, RequestKey};
use super::super::model::address::SessionAddress;
use super::super::model::fact::{Fact, Fetched};
use super::context::Context;
use super::{bundle, device_list, own_bundle, trust};
use crate::error::{Result, Status};

/// Takes an answer over, and lets those go on who wait for it.
pub(in crate::manager) fn take_over(context: &Context, noted: Noted<Fact>) {
    let serves = |namespace| context.config.namespaces.contains(namespace);
    let fact = match &noted.key {
        RequestKey::List(namespace, jid) if serves(namespace) => {
            Fact::List(device_list::apply_response(context, *namespace, jid, &noted.response))
        }
        RequestKey::Bundle(namespace, jid, device) if serves(namespace) => {
            let at = SessionAddress { jid: jid.clone(), device: *device, namespace: *namespace };
            of_bundle(context, &noted, &at).unwrap_or_else(|error| Fact::Bundle(Err(error)))
        }
        RequestKey::Trust(_) => match &noted.response.answer {
            Answer::Levels(levels) => Fact::Stored(trust::apply_decisions(context, levels)),
            _ => Fact::None,
        },
        RequestKey::List(..) | RequestKey::Bundle(..) | RequestKey::Alone(_) => Fact::None,
    };
    noted.settle(fact);
}

/// A bundle under this device's id is compared with ours; one under an id that it has given up serves nobody.
fn of_bundle(context: &Context, noted: &Noted<Fact>, at: &SessionAddress) -> Result<Fact> {
    let (this, given_up) = context.transact(|tx| {
        let given_up = tx.account()?.is_given_up(at.device.get());
        Ok((tx.device_id()?, given_up))
    })?;
    Ok(match at.jid == context.config.jid {
        true if this == Some(at.device) => {
            Fact::Stored(own_bundle::apply_response(context, at, &noted.response))
        }
        true if given_up => Fact::Bundle(Ok(Fetched::Failed(Status::BundleNotFound.into()))),
        _ => Fact::Bundle(bundle::apply_response(context, at, &noted.response)),
    })
}
