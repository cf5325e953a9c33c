//! Refreshing a JID: its lists are fetched, and the bundles of devices whose keys are not known.

use super::super::api::report::{Outcome, Row};
use super::super::engine::Class;
use super::super::model::fact::Fetched;
use super::context::Context;
use super::{bundle, device_list, devices};
use crate::error::{Error, Status};
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use futures_util::future::join_all;
use std::sync::Arc;

/// See [`super::super::Manager::refresh_devices`].
pub(in crate::manager) async fn refresh(
    context: Arc<Context>,
    jid: BareJid,
    namespace: Option<Namespace>,
) -> Outcome {
    let namespaces = namespace.map_or_else(|| context.config.namespaces.clone(), |namespace| vec![namespace]);
    let fetches =
        namespaces.iter().map(|namespace| device_list::fetch(&context, *namespace, &jid, Class::Foreground));
    let lists = join_all(fetches).await;
    let mut rows = Vec::new();
    let mut error = Error::from(Status::Ok);
    for (namespace, list) in namespaces.iter().zip(lists) {
        let end = list.err().unwrap_or_else(|| Status::Ok.into());
        if end.status() != Status::Ok {
            error = end.clone();
        }
        rows.push(Row { jid: Some(jid.clone()), device: 0, namespace: Some(*namespace), error: end });
    }
    let mut incomplete = Vec::new();
    for namespace in namespaces {
        match context.transact(|tx| devices::incomplete_devices(tx, &jid, namespace)) {
            Ok(addresses) => incomplete.extend(addresses),
            Err(error) => return Outcome { rows, ..Outcome::bare(error) },
        }
    }
    let fetches = incomplete.iter().map(|at| bundle::fetch(&context, at, Class::Foreground));
    for (at, fetched) in incomplete.iter().zip(join_all(fetches).await) {
        let error = match fetched {
            Ok(Fetched::Usable(_) | Fetched::Outdated) => Status::Ok.into(),
            Ok(Fetched::Failed(error)) | Err(error) => error,
        };
        rows.push(Row {
            jid: Some(at.jid.clone()),
            device: at.device.get(),
            namespace: Some(at.namespace),
            error,
        });
    }
    Outcome { rows, ..Outcome::bare(error) }
}
