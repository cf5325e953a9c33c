//! The health report: everything that can be looked at of a JID's devices, a row for each finding. It fetches lists and
//! bundles, which are taken over as always, and changes nothing else.

use super::super::api::device::{CoreTrust, Device, DeviceSession};
use super::super::api::report::{Outcome, Row};
use super::super::engine::Class;
use super::super::model::address::SessionAddress;
use super::super::model::fact::Fetched;
use super::super::store::transaction::Tx;
use super::context::Context;
use super::{announce, bundle, device_list, devices, own_bundle, trust, trust_policy};
use crate::error::{Error, Result, Status};
use crate::protocol::address::BareJid;
use crate::protocol::device_list::DeviceList;
use crate::protocol::namespace::Namespace;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;

/// See [`super::super::Manager::health`].
pub(in crate::manager) async fn health(context: Arc<Context>, jid: BareJid) -> Outcome {
    let mut report = Report { context: &context, jid, rows: Vec::new() };
    match report.look().await {
        Ok(()) => {
            let worst = report.rows.iter().find(|row| row.error.status() != Status::Ok);
            let error = worst.map_or_else(|| Status::Ok.into(), |row| row.error.clone());
            Outcome { rows: report.rows, ..Outcome::bare(error) }
        }
        Err(error) => Outcome { rows: report.rows, ..Outcome::bare(error) },
    }
}

struct Report<'a> {
    context: &'a Context,
    jid: BareJid,
    rows: Vec<Row>,
}

impl Report<'_> {
    async fn look(&mut self) -> Result<()> {
        let namespaces = self.context.config.namespaces.clone();
        let fetches = namespaces
            .iter()
            .map(|namespace| device_list::fetch(self.context, *namespace, &self.jid, Class::Foreground));
        let mut lists = BTreeMap::new();
        for (namespace, list) in namespaces.iter().zip(join_all(fetches).await) {
            match list {
                Err(error) if error.is_storage() => return Err(error),
                Err(error) => self.row(0, *namespace, error),
                Ok(list) => {
                    self.list(*namespace, &list);
                    lists.insert(*namespace, list);
                }
            }
        }
        let this = self.context.transact(|tx| Ok(tx.device_id()?.filter(|_| tx.is_own(&self.jid))))?;
        let mut addresses = Vec::new();
        for (namespace, list) in &lists {
            let others = list.ids().filter(|id| Some(*id) != this);
            addresses.extend(others.map(|device| SessionAddress {
                jid: self.jid.clone(),
                device,
                namespace: *namespace,
            }));
        }
        let fetches = addresses.iter().map(|at| bundle::fetch(self.context, at, Class::Foreground));
        for (at, fetched) in addresses.iter().zip(join_all(fetches).await) {
            let found = match fetched {
                Ok(Fetched::Usable(_) | Fetched::Outdated) => None,
                Ok(Fetched::Failed(error)) => Some(error),
                Err(error) if error.is_storage() => return Err(error),
                Err(error) => Some(error),
            };
            let findings = self.context.transact(|tx| device_findings(tx, at, found))?;
            self.rows_of(at.device.get(), at.namespace, findings);
        }
        for (namespace, list) in lists.iter().filter_map(|entry| this.map(|_| entry)) {
            self.this_device(*namespace, list).await?;
        }
        Ok(())
    }

    fn row(&mut self, device: u32, namespace: Namespace, error: Error) {
        self.rows.push(Row { jid: Some(self.jid.clone()), device, namespace: Some(namespace), error });
    }

    /// Adds a row for each finding, or one that says that there is none.
    fn rows_of(&mut self, device: u32, namespace: Namespace, mut findings: Vec<Error>) {
        if findings.is_empty() {
            findings.push(Status::Ok.into());
        }
        findings.into_iter().for_each(|finding| self.row(device, namespace, finding));
    }

    fn list(&mut self, namespace: Namespace, list: &DeviceList) {
        let mut findings = Vec::new();
        if list.devices.is_empty() {
            findings.push(Status::NoDevices.into());
        }
        for _ in list.unserveable() {
            findings.push(Error::new(
                Status::Malformed,
                "The list holds a device id outside of 1 to 2147483647.",
            ));
        }
        self.rows_of(0, namespace, findings);
    }

    /// What stands on the server of this device is compared with the store.
    async fn this_device(&mut self, namespace: Namespace, list: &DeviceList) -> Result<()> {
        let device = self.context.transact(|tx| tx.own_device())?;
        let mut findings = Vec::new();
        match self.context.transact(|tx| announce::check_entry(tx, list, device))? {
            None => (),
            Some(finding) => findings.push(finding),
        }
        match own_bundle::check(self.context, namespace, device).await {
            Err(error) if error.is_storage() => return Err(error),
            Err(error) => findings.push(error),
            Ok(()) if self.context.transact(|tx| Ok(tx.pre_keys(namespace)?.bundle_pending))? => {
                findings.push(Error::new(
                    Status::BundleUploadFailed,
                    "The bundle on the server is missing or outdated; it is being published again.",
                ));
            }
            Ok(()) if !self.context.memory(|memory| memory.verified_in.contains(namespace))? => {
                findings.push(Status::BundleDownloadFailed.into());
            }
            Ok(()) => (),
        }
        self.rows_of(device.get(), namespace, findings);
        Ok(())
    }
}

/// Returns what there is to be said of another device in a namespace; `bundle`: what is wrong with its bundle.
fn device_findings(tx: &mut Tx<'_>, at: &SessionAddress, bundle: Option<Error>) -> Result<Vec<Error>> {
    let mut findings: Vec<Error> = bundle.into_iter().collect();
    let contact = tx.contact(&at.jid)?;
    let Some(known) = contact.device(at.device) else { return Ok(findings) };
    let mut device = trust::device_info(tx, &contact, known);
    if device.identity_key.is_some() {
        match trust_policy::evaluate(tx, &contact, &device) {
            Ok(CoreTrust::Trusted) => (),
            Ok(CoreTrust::Undecided) => findings.push(Status::Undecided.into()),
            Ok(CoreTrust::Distrusted) => findings.push(Status::Distrusted.into()),
            Err(error) => findings.push(error),
        }
    }
    device.sessions = devices::sessions(tx, &device)?;
    let session = device.sessions.iter().find(|session| session.namespace == at.namespace);
    findings.extend(session.and_then(session_finding));
    if at.namespace.has_labels() && has_bad_label(&device) {
        findings.push(Error::new(Status::Label, "The label of the device has no valid signature."));
    }
    Ok(findings)
}

fn session_finding(session: &DeviceSession) -> Option<Error> {
    if session.failed_messages > 0 {
        return Some(Error::new(
            Status::DecryptionFailed,
            format!("{} messages of the device could not be decrypted.", session.failed_messages),
        ));
    }
    session.sending_chain_length.is_none().then(|| Status::NoSession.into())
}

fn has_bad_label(device: &Device) -> bool {
    device.label.is_some() && device.identity_key.is_some() && device.verified_label().is_none()
}
