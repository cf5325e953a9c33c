//! Section 4 of the header: how to open a manager.

use super::super::boundary::user_data::{UserData, omemo_destroy};
use super::super::boundary::{args, guard, handles, returns};
use super::super::runtime::manager_handle::Parts;
use super::callbacks::{Callbacks, LEVEL_UNDECIDED, omemo_callbacks};
use super::log::{self, Log, omemo_log};
use super::status::omemo_status;
use super::storage::{Store, omemo_storage};
use crate::error::{Error, Result, Status};
use crate::manager;
use crate::protocol::address::BareJid;
use crate::protocol::limits;
use crate::protocol::namespace::Namespace;
use parking_lot::Mutex;
use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;

/// ## 4 Configuration
///
/// Numbers that omemo_config_set_option takes: unit, bounds, and the value unless set.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum omemo_option {
    /// Milliseconds until a network question ends by itself: 1000 to 3600000, 60000.
    OMEMO_OPTION_REQUEST_TIMEOUT_MS = 1,
    /// Fetches open at a time: 1 to 1000, 32.
    OMEMO_OPTION_MAX_OPEN_FETCHES = 2,
    /// Keys of skipped messages that are kept for each session: 0 to 2000, 1000.
    OMEMO_OPTION_SKIPPED_PER_SESSION = 3,
    /// Messages that one message may skip: 0 to SKIPPED_PER_SESSION, the same.
    OMEMO_OPTION_SKIPPED_PER_MESSAGE = 4,
}

/// How to open a manager.
pub struct omemo_config {
    shared: Arc<Shared>,
}

/// What a configuration holds. Shared, for a service may free the configuration while a manager is being
/// opened.
pub(in crate::ffi) struct Shared {
    settings: Mutex<Settings>,
    error: Mutex<Option<CString>>,
}

/// What was set.
#[derive(Clone, Default)]
pub(in crate::ffi) struct Settings {
    first_error: Option<Error>,
    jid: Option<BareJid>,
    namespaces: Option<Vec<Namespace>>,
    default_trust_level_name: Option<String>,
    request_timeout_ms: Option<u64>,
    max_open_fetches: Option<u64>,
    skipped_per_session: Option<u64>,
    skipped_per_message: Option<u64>,
    storage: Option<Arc<Store>>,
    callbacks: Option<Arc<Callbacks>>,
    log: Option<Arc<Log>>,
}

/// The settings of a configuration, whatever becomes of the client's handle meanwhile.
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

    /// Why the configuration could not be used.
    pub(in crate::ffi) fn note_error(&self, error: Option<&Error>) {
        *self.error.lock() = error.map(|error| returns::c_string(&error.to_string()));
    }

    /// Everything, checked as a whole.
    pub(in crate::ffi) fn parts(&self) -> Result<Parts> {
        let settings = self.settings.lock().clone();
        if let Some(error) = settings.first_error {
            return Err(error);
        }
        let missing = |what: &'static str| Error::new(Status::Argument, what);
        let kept = settings.skipped_per_session.map_or(limits::SKIPPED_PER_SESSION, small);
        let at_once = settings.skipped_per_message.map_or(limits::SKIPPED_PER_MESSAGE.min(kept), small);
        if at_once > kept {
            return Err(missing(
                "OMEMO_OPTION_SKIPPED_PER_MESSAGE is greater than OMEMO_OPTION_SKIPPED_PER_SESSION.",
            ));
        }
        let config = manager::Config {
            jid: settings.jid.ok_or_else(|| missing("omemo_config_set_jid was not called."))?,
            namespaces: settings.namespaces.unwrap_or_else(|| vec![Namespace::Legacy, Namespace::Omemo2]),
            default_trust_level_name: settings
                .default_trust_level_name
                .unwrap_or_else(|| LEVEL_UNDECIDED.to_owned()),
            request_timeout_ms: settings.request_timeout_ms.unwrap_or(60_000),
            max_open_fetches: settings.max_open_fetches.map_or(32, small),
            skipped_per_session: kept,
            skipped_per_message: at_once,
        };
        let storage = settings.storage.ok_or_else(|| missing("omemo_config_set_storage was not called."))?;
        let callbacks =
            settings.callbacks.ok_or_else(|| missing("omemo_config_set_callbacks was not called."))?;
        Ok(Parts { config, storage, callbacks, log: settings.log })
    }
}

/// A number that was checked to be small.
fn small(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// ## 4 Configuration
///
/// An empty configuration. JID, storage and callbacks must be set. One configuration may open several
/// managers only if each gets its own storage and JID set before.
/// Returns: never NULL, save after a bug of this library.
/// Memory: free it by omemo_config_free.
/// Since: 0.1.0
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn omemo_config_new() -> *mut omemo_config {
    guard::call(std::ptr::null_mut(), || {
        let shared = Shared { settings: Mutex::default(), error: Mutex::default() };
        handles::into_handle(omemo_config { shared: Arc::new(shared) })
    })
}

/// Free a configuration. Managers that were opened with it go on.
/// Parameters:
/// - config: the configuration; NULL does nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omemo_config_free(config: *mut omemo_config) {
    // SAFETY: the client promises that it is one of ours, freed for the first time.
    guard::call((), || unsafe { handles::free_handle(config) });
}

/// Whose account it is.
/// Parameters:
/// - config: the configuration.
/// - jid: the own bare JID.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_JID.
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

/// Which namespaces to serve, most preferred first; each device is served in exactly one. Unless set:
/// OMEMO_NS_LEGACY, then OMEMO_NS_2, since there are clients that announce both and read OMEMO_NS_LEGACY only
/// (docs/namespaces.md). A namespace that the account served before and that is not in the list is left: at the next
/// omemo_manager_connected this device is taken off its list there and delete_bundle is asked, until it is done; keys
/// and sessions are forgotten when the manager opens.
/// Parameters:
/// - config: the configuration.
/// - namespaces: count names, each once.
/// - count: their number, at least 1.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_UTF8, OMEMO_ERR_ARGUMENT, OMEMO_ERR_UNKNOWN_NAMESPACE.
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

/// Where to keep everything.
/// Parameters:
/// - config: the configuration.
/// - storage: the store, which no other manager may have open at the same time.
/// Returns: OMEMO_ERR_NULL; OMEMO_ERR_BUSY inside a service.
/// Memory: the store is shared; you still free it.
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

/// What the library calls. May be called once for each configuration.
/// Parameters:
/// - config: the configuration.
/// - callbacks: the table, with its struct_size set.
/// - user_data: goes to each callback; any pointer.
/// - destroy: gets user_data when the configuration and its managers are gone; may be NULL. Does not run if
///   this call fails.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT (struct_size, or called twice).
/// Memory: the table is copied.
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

/// Where lines of log go. May be called once for each configuration.
/// Parameters:
/// - config: the configuration.
/// - level: an omemo_log_level; lines up to it are given.
/// - log: what gets them.
/// - user_data: goes to log; any pointer.
/// - destroy: as in omemo_config_set_callbacks.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT (level, or called twice).
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
            let level =
                log::level(level).ok_or(Error::new(Status::Argument, "This is no omemo_log_level."))?;
            if settings.log.is_some() {
                return Err(Error::new(Status::Argument, "omemo_config_set_log was called twice."));
            }
            settings.log = Some(Arc::new(Log { level, log, user_data: UserData::new(user_data, destroy) }));
            Ok(())
        })
    })
}

/// Set a number.
/// Parameters:
/// - config: the configuration.
/// - option: an omemo_option.
/// - value: within the bounds that the option's comment gives.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_ARGUMENT.
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
            let (slot, bounds, name) = match option {
                o if o == omemo_option::OMEMO_OPTION_REQUEST_TIMEOUT_MS as i32 => {
                    (&mut settings.request_timeout_ms, 1_000..=3_600_000, "OMEMO_OPTION_REQUEST_TIMEOUT_MS")
                }
                o if o == omemo_option::OMEMO_OPTION_MAX_OPEN_FETCHES as i32 => {
                    (&mut settings.max_open_fetches, 1..=1_000, "OMEMO_OPTION_MAX_OPEN_FETCHES")
                }
                o if o == omemo_option::OMEMO_OPTION_SKIPPED_PER_SESSION as i32 => {
                    (&mut settings.skipped_per_session, 0..=2_000, "OMEMO_OPTION_SKIPPED_PER_SESSION")
                }
                o if o == omemo_option::OMEMO_OPTION_SKIPPED_PER_MESSAGE as i32 => {
                    (&mut settings.skipped_per_message, 0..=2_000, "OMEMO_OPTION_SKIPPED_PER_MESSAGE")
                }
                _ => return Err(Error::new(Status::Argument, "There is no option with this number.")),
            };
            if !bounds.contains(&value) {
                return Err(Error::new(Status::Argument, format!("{name} is out of its bounds.")));
            }
            *slot = Some(value);
            Ok(())
        })
    })
}

/// The trust level of keys that nobody has judged. Unless set: OMEMO_TRUST_LEVEL_NAME_UNDECIDED.
/// Parameters:
/// - config: the configuration.
/// - level: a name that your evaluate_trust knows; without one, OMEMO_TRUST_LEVEL_NAME_*. omemo_manager_new checks it.
/// Returns: OMEMO_ERR_NULL, OMEMO_ERR_UTF8.
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

/// Why omemo_manager_new failed with this configuration the last time: which setting, which record.
/// Parameters:
/// - config: the configuration.
/// Returns: a sentence without JIDs; "" when it did not fail, and for NULL.
/// Memory: borrowed until the next omemo_manager_new with this configuration, or its end.
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
