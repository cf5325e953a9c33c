//! Section 4 of the header: the settings of a manager.

use super::super::boundary::user_data::{UserData, omemo_destroy};
use super::super::boundary::{args, guard, handles, returns};
use super::super::runtime::manager_handle::Parts;
use super::callbacks::{Callbacks, omemo_callbacks};
use super::log::{Log, omemo_log, omemo_log_level};
use super::status::omemo_status;
use super::storage::{Store, omemo_storage};
use super::trust_policy;
use crate::error::{Error, Result, Status};
use crate::manager;
use crate::manager::api::trust_policy::LEVEL_UNDECIDED;
use crate::manager::config::{
    ACKNOWLEDGE, ConfigOption, Delivery, HEALING, Habits, Healing, MARK_START, MAX_OPEN_FETCHES,
    MAX_UNANSWERED_MESSAGES, OPTIONS, PRE_KEY_THRESHOLD, REQUEST_TIMEOUT_MS, SIGNED_PRE_KEY_PERIOD_S,
    SKIPPED_PER_MESSAGE, SKIPPED_PER_SESSION, StartMark, TRUST_POLICY,
};
use crate::protocol::address::BareJid;
use crate::protocol::namespace::Namespace;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;

/// Settings from which omemo_manager_new opens a manager.
///
/// Create it with omemo_config_new and set at least JID, storage and callbacks. Setters return a status that you
/// may ignore: the configuration keeps the first failure, omemo_manager_new returns it, and omemo_config_error
/// explains it. Free the configuration with omemo_config_free, which you may do as soon as the manager is open. To
/// open another manager with it, set another JID and another storage first.
pub struct omemo_config {
    shared: Arc<Shared>,
}

/// The content of a configuration. Shared, because a service may free the configuration while a manager is being
/// opened.
pub(in crate::ffi) struct Shared {
    settings: Mutex<Settings>,
    error: Mutex<Option<CString>>,
}

/// The settings that were made.
#[derive(Clone, Default)]
pub(in crate::ffi) struct Settings {
    first_error: Option<Error>,
    jid: Option<BareJid>,
    namespaces: Option<Vec<Namespace>>,
    default_trust_level_name: Option<String>,
    /// Values of options by number, each within its bounds.
    options: BTreeMap<i32, u64>,
    storage: Option<Arc<Store>>,
    callbacks: Option<Arc<Callbacks>>,
    log: Option<Arc<Log>>,
}

impl Settings {
    /// Returns the value of an option.
    fn option(&self, option: &ConfigOption) -> u64 {
        self.options.get(&option.number).copied().unwrap_or(option.default)
    }
}

/// Returns the settings of a configuration, which stay if the client frees its handle meanwhile.
///
/// # Safety
/// `config` must be NULL or one of ours that has not been freed.
pub(in crate::ffi) unsafe fn shared(config: *const omemo_config) -> Result<Arc<Shared>> {
    // SAFETY: the same promise.
    unsafe { args::copied(config, |config| config.shared.clone()) }
}

impl Shared {
    /// Sets something; the first failure is kept. Returns what `set` took out of the settings, whose drop may run a
    /// `destroy`: that may call a setter of the same configuration, so the lock must be free by then.
    fn set<T>(&self, set: impl FnOnce(&mut Settings) -> Result<T>) -> Result<T> {
        let mut settings = self.settings.lock();
        let done = set(&mut settings);
        if let Err(error) = &done {
            settings.first_error.get_or_insert_with(|| error.clone());
        }
        done
    }

    /// Stores why the configuration could not be used.
    pub(in crate::ffi) fn note_error(&self, error: Option<&Error>) {
        *self.error.lock() = error.map(|error| returns::c_string(&error.to_string()));
    }

    /// Returns all settings, checked as a whole.
    pub(in crate::ffi) fn parts(&self) -> Result<Parts> {
        let settings = self.settings.lock().clone();
        if let Some(error) = settings.first_error {
            return Err(error);
        }
        let missing = |what: &'static str| Error::new(Status::Argument, what);
        let kept = settings.option(&SKIPPED_PER_SESSION);
        let at_once = match settings.options.get(&SKIPPED_PER_MESSAGE.number) {
            Some(set) => *set,
            None => SKIPPED_PER_MESSAGE.default.min(kept),
        };
        if at_once > kept {
            return Err(missing(
                "OMEMO_OPTION_SKIPPED_PER_MESSAGE is greater than OMEMO_OPTION_SKIPPED_PER_SESSION.",
            ));
        }
        let request_timeout_ms = settings.option(&REQUEST_TIMEOUT_MS);
        let max_open_fetches = small(settings.option(&MAX_OPEN_FETCHES));
        let signed_pre_key_period_ms = settings.option(&SIGNED_PRE_KEY_PERIOD_S).saturating_mul(1_000);
        let pre_key_threshold = small(settings.option(&PRE_KEY_THRESHOLD));
        let heals = settings.option(&HEALING) != 0;
        let marks = settings.option(&MARK_START) != 0;
        let acknowledged = settings.option(&ACKNOWLEDGE) != 0;
        let table = settings.callbacks.as_ref().map(|callbacks| &callbacks.table);
        let trust_policy = trust_policy::selected(settings.option(&TRUST_POLICY), table)?;
        let max_unanswered_messages = most_unanswered(settings.option(&MAX_UNANSWERED_MESSAGES));
        let config = manager::Config {
            jid: settings.jid.ok_or_else(|| missing("omemo_config_set_jid was not called."))?,
            namespaces: settings.namespaces.unwrap_or_else(|| vec![Namespace::Legacy, Namespace::Omemo2]),
            default_trust_level_name: settings
                .default_trust_level_name
                .unwrap_or_else(|| LEVEL_UNDECIDED.to_owned()),
            request_timeout_ms,
            max_open_fetches,
            skipped_per_session: small(kept),
            skipped_per_message: small(at_once),
            start_mark: if marks { StartMark::NewPreKey } else { StartMark::None },
            healing: if heals { Healing::Automatic } else { Healing::Manual },
            max_unanswered_messages,
            signed_pre_key_period_ms,
            pre_key_threshold,
            habits: Habits::Own,
            delivery: if acknowledged { Delivery::Acknowledged } else { Delivery::Direct },
        };
        let storage = settings.storage.ok_or_else(|| missing("omemo_config_set_storage was not called."))?;
        let callbacks =
            settings.callbacks.ok_or_else(|| missing("omemo_config_set_callbacks was not called."))?;
        Ok(Parts { config, storage, callbacks, trust_policy, log: settings.log })
    }
}

/// Messages that a device may leave unanswered; `None`: any number.
fn most_unanswered(option: u64) -> Option<u32> {
    let most = u32::try_from(option).unwrap_or(u32::MAX);
    (most != 0).then_some(most)
}

/// A number that was checked to be small.
fn small(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Creates an empty configuration. JID, storage and callbacks must be set before omemo_manager_new. The
/// configuration can open several managers only if each gets a JID and a storage of its own, set before it is
/// opened.
/// Returns: the configuration; NULL only after a bug in this library.
/// Memory: free it with omemo_config_free.
/// Since: 0.1.0
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn omemo_config_new() -> *mut omemo_config {
    guard::call(std::ptr::null_mut(), || {
        let shared = Shared { settings: Mutex::default(), error: Mutex::default() };
        handles::into_handle(omemo_config { shared: Arc::new(shared) })
    })
}

/// Frees a configuration. Managers that were opened with it continue.
/// Parameters:
/// - config: NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_config_free(config: *mut omemo_config) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_handle(config) });
}

/// Sets the JID of the account.
/// Parameters:
/// - jid: this account's bare JID.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_config_set_jid(config: *mut omemo_config, jid: *const c_char) -> omemo_status {
    guard::status(|| {
        // SAFETY: the client gives one of ours or NULL.
        unsafe { shared(config) }?.set(|settings| {
            // SAFETY: the client gives a C string or NULL.
            settings.jid = Some(unsafe { args::required_jid(jid) }?);
            Ok(())
        })
    })
}

/// Sets the namespaces that the account uses, most preferred first. A message is encrypted for each device in
/// exactly one of them. The default is OMEMO_NS_LEGACY, then OMEMO_NS_2, because some clients announce both and
/// read only OMEMO_NS_LEGACY (docs/namespaces.md).
///
/// A namespace that the account used before and that is missing here is given up: its keys, its sessions and its content
/// that was not acknowledged (OMEMO_OPTION_ACKNOWLEDGE) are deleted when the manager opens, and from the next
/// omemo_manager_connected on this device is removed from its device list there and delete_bundle is called, until both
/// have succeeded.
///
/// Parameters:
/// - namespaces: an array of count names, each of them once.
/// - count: at least 1.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_ARGUMENT, OMEMO_ERR_UNKNOWN_NAMESPACE.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_config_set_namespaces(
    config: *mut omemo_config,
    namespaces: *const *const c_char,
    count: usize,
) -> omemo_status {
    guard::status(|| {
        // SAFETY: the client gives one of ours or NULL.
        unsafe { shared(config) }?.set(|settings| {
            // SAFETY: the client gives count C strings or NULL.
            settings.namespaces = Some(unsafe { args::namespaces(namespaces, count) }?);
            Ok(())
        })
    })
}

/// Sets the storage of the account.
/// Parameters:
/// - storage: a store that no other manager has open at the same time.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_BUSY inside a service.
/// Memory: the store is shared; you still free your reference with omemo_storage_free.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_config_set_storage(
    config: *mut omemo_config,
    storage: *const omemo_storage,
) -> omemo_status {
    guard::outside_services(|| {
        // SAFETY: the client gives one of ours or NULL.
        let replaced = unsafe { shared(config) }?.set(|settings| {
            // SAFETY: as above.
            let store = unsafe { args::copied(storage, omemo_storage::store) }?;
            Ok(settings.storage.replace(store))
        })?;
        drop(replaced);
        Ok(())
    })
}

/// Sets the callbacks of the account. Can be called once for each configuration.
/// Parameters:
/// - callbacks: the table, with struct_size set. It is copied.
/// - user_data: any pointer; passed to each callback.
/// - destroy: called with user_data when the configuration and its managers are gone; may be NULL. Does not run if
///   this call fails.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT (wrong struct_size, or the second call).
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_config_set_callbacks(
    config: *mut omemo_config,
    callbacks: *const omemo_callbacks,
    user_data: *mut c_void,
    destroy: omemo_destroy,
) -> omemo_status {
    guard::status(|| {
        // SAFETY: the client gives one of ours or NULL.
        unsafe { shared(config) }?.set(|settings| {
            // SAFETY: the client gives a table whose first member tells its size, or NULL.
            let table = unsafe { omemo_callbacks::read(callbacks) }?;
            if settings.callbacks.is_some() {
                return Err(Error::new(Status::Argument, "omemo_config_set_callbacks was called twice."));
            }
            let user_data = UserData::new(user_data, destroy);
            settings.callbacks = Some(Arc::new(Callbacks { table, user_data }));
            Ok(())
        })
    })
}

/// Sets the function that receives log lines. Can be called once for each configuration. Without it nothing is
/// logged.
/// Parameters:
/// - level: an omemo_log_level; the function receives lines of this level and of the more severe ones.
/// - log: the function; required.
/// - user_data: any pointer; passed to log.
/// - destroy: called with user_data when the configuration and its managers are gone; may be NULL. Does not run if
///   this call fails.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT (wrong level, or the second call).
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_config_set_log(
    config: *mut omemo_config,
    level: i32,
    log: omemo_log,
    user_data: *mut c_void,
    destroy: omemo_destroy,
) -> omemo_status {
    guard::status(|| {
        // SAFETY: the client gives one of ours or NULL.
        unsafe { shared(config) }?.set(|settings| {
            let log = args::required(log)?;
            let level = omemo_log_level::decode(level)?;
            if settings.log.is_some() {
                return Err(Error::new(Status::Argument, "omemo_config_set_log was called twice."));
            }
            settings.log = Some(Arc::new(Log { level, log, user_data: UserData::new(user_data, destroy) }));
            Ok(())
        })
    })
}

/// Sets an option to a number.
/// Parameters:
/// - option: an omemo_option.
/// - value: within the bounds that the option's comment gives.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_config_set_option(
    config: *mut omemo_config,
    option: i32,
    value: u64,
) -> omemo_status {
    guard::status(|| {
        // SAFETY: the client gives one of ours or NULL.
        unsafe { shared(config) }?.set(|settings| {
            let row = OPTIONS.iter().find(|row| row.number == option);
            let row = row.ok_or(Error::new(Status::Argument, "The number is not an omemo_option."))?;
            if !(row.least..=row.most).contains(&value) {
                return Err(Error::new(Status::Argument, format!("{} is out of its bounds.", row.name)));
            }
            settings.options.insert(option, value);
            Ok(())
        })
    })
}

/// Sets the trust level of keys about which no trust decision was made. The default is
/// OMEMO_TRUST_LEVEL_NAME_UNDECIDED: decide_trust is called before anything is encrypted for such a key. With
/// OMEMO_TRUST_LEVEL_NAME_TRUSTED every key is trusted blindly until omemo_manager_set_trust says otherwise, and
/// decide_trust is not called. For trust on first use, and for blind trust before verification, leave the default and
/// set OMEMO_OPTION_TRUST_POLICY.
/// Parameters:
/// - level: a name that your evaluate_trust knows, or without evaluate_trust one of OMEMO_TRUST_LEVEL_NAME_*.
///   omemo_manager_new checks it.
/// Returns: OMEMO_OK, OMEMO_ERR_NULL, OMEMO_ERR_UTF8.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_config_set_default_trust_level_name(
    config: *mut omemo_config,
    level: *const c_char,
) -> omemo_status {
    guard::status(|| {
        // SAFETY: the client gives one of ours or NULL.
        unsafe { shared(config) }?.set(|settings| {
            // SAFETY: the client gives a C string or NULL.
            settings.default_trust_level_name = Some(unsafe { args::text(level) }?.to_owned());
            Ok(())
        })
    })
}

/// Returns why the last omemo_manager_new with this configuration failed: which setting, or which record of the
/// store.
/// Returns: a sentence without JIDs; "" if the call did not fail, and for NULL.
/// Memory: borrowed from config until the next omemo_manager_new with it.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_config_error(config: Option<&omemo_config>) -> *const c_char {
    let nothing = c"".as_ptr();
    guard::call(nothing, || {
        let Some(config) = config else { return nothing };
        let error = config.shared.error.lock();
        error.as_ref().map_or(nothing, |error| error.as_ptr())
    })
}
