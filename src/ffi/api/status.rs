//! Section 1 of the header: version and status.

use super::super::boundary::guard;
use crate::error::Status;
use std::ffi::c_char;

/// Every way to fail: 0 is success, failures are negative, numbers are for ever. In brackets: the exception
/// of python-omemo.
///
/// Down to -99: how the library is called. From -100: storage. From -200: account and trust. From -300:
/// encryption, of an operation or of one device in its report. From -400: network. From -500: decryption,
/// what omemo_decrypted_status says.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum omemo_status {
    /// Success.
    OMEMO_OK = 0,
    /// A pointer that must not be NULL is NULL.
    OMEMO_ERR_NULL = -1,
    /// A string is not UTF-8.
    OMEMO_ERR_UTF8 = -2,
    /// A value is out of range, or does not go with another one. [ValueError]
    OMEMO_ERR_ARGUMENT = -3,
    /// This is not a bare JID.
    OMEMO_ERR_JID = -4,
    /// Called from within a service, or run within run.
    OMEMO_ERR_BUSY = -5,
    /// The request or operation is over.
    OMEMO_ERR_STALE = -6,
    /// This answer does not fit the question; the request stays open.
    OMEMO_ERR_WRONG_ANSWER = -7,
    /// Cancelled, or the manager was freed.
    OMEMO_ERR_CANCELLED = -8,
    /// The operation is not over yet.
    OMEMO_ERR_PENDING = -9,
    /// There is no such thing.
    OMEMO_ERR_NOT_FOUND = -10,
    /// The input breaks a limit.
    OMEMO_ERR_LIMIT = -11,
    /// Bytes from outside cannot be read. [XMLSchemaValidationError]
    OMEMO_ERR_MALFORMED = -12,
    /// The account has no device id yet: it has never been connected.
    OMEMO_ERR_NOT_READY = -13,
    /// A bug of this library; nothing was committed.
    OMEMO_ERR_INTERNAL = -99,
    /// Reading or writing failed; nothing changed, the same call may be made again. [StorageException]
    OMEMO_ERR_STORAGE = -100,
    /// Somebody else has the store open.
    OMEMO_ERR_STORAGE_LOCKED = -101,
    /// What is stored contradicts itself; nothing is made anew beside it. [TypeError, KeyError,
    /// NothingException]
    OMEMO_ERR_STORAGE_CORRUPT = -102,
    /// The store was written by a newer version.
    OMEMO_ERR_STORAGE_VERSION = -104,
    /// The store belongs to another JID.
    OMEMO_ERR_STORAGE_ACCOUNT = -105,
    /// This namespace is not served. [UnknownNamespace]
    OMEMO_ERR_UNKNOWN_NAMESPACE = -200,
    /// This trust level is not known. [UnknownTrustLevel]
    OMEMO_ERR_UNKNOWN_TRUST_LEVEL = -201,
    /// The question about trust was declined. [TrustDecisionFailed]
    OMEMO_ERR_TRUST_DECISION_FAILED = -202,
    /// The question about trust was answered, but a device is still undecided. [StillUndecided]
    OMEMO_ERR_STILL_UNDECIDED = -203,
    /// A label that no served namespace can carry, or one that is too long. [NotImplementedError of the
    /// legacy backend]
    OMEMO_ERR_LABEL = -204,
    /// A recipient can be served on no device. [NoEligibleDevices]
    OMEMO_ERR_NO_ELIGIBLE_DEVICES = -300,
    /// The JID announces no device at all.
    OMEMO_ERR_NO_DEVICES = -301,
    /// Nobody has judged the key of this device.
    OMEMO_ERR_UNDECIDED = -302,
    /// The key of this device is judged distrusted.
    OMEMO_ERR_DISTRUSTED = -303,
    /// The device shows another key than the one that was judged.
    OMEMO_ERR_IDENTITY_CHANGED = -304,
    /// The device shows different keys in the two namespaces.
    OMEMO_ERR_IDENTITY_MISMATCH = -305,
    /// The device has no bundle. [BundleNotFound]
    OMEMO_ERR_BUNDLE_NOT_FOUND = -306,
    /// The bundle can be read, but not used: signature, keys or ids are wrong.
    OMEMO_ERR_BUNDLE_BAD = -307,
    /// The key exchange failed. [KeyExchangeFailed; XEdDSAException]
    OMEMO_ERR_KEY_EXCHANGE_FAILED = -308,
    /// The plaintext for a namespace that is needed is missing or empty.
    OMEMO_ERR_PLAINTEXT = -309,
    /// No answer came in time.
    OMEMO_ERR_TIMEOUT = -400,
    /// Not connected.
    OMEMO_ERR_OFFLINE = -401,
    /// The own bundle could not be published. [BundleUploadFailed]
    OMEMO_ERR_BUNDLE_UPLOAD_FAILED = -402,
    /// A bundle could not be fetched. [BundleDownloadFailed]
    OMEMO_ERR_BUNDLE_DOWNLOAD_FAILED = -403,
    /// A bundle could not be deleted. [BundleDeletionFailed]
    OMEMO_ERR_BUNDLE_DELETION_FAILED = -404,
    /// The own device list could not be published. [DeviceListUploadFailed]
    OMEMO_ERR_DEVICE_LIST_UPLOAD_FAILED = -405,
    /// A device list could not be fetched. [DeviceListDownloadFailed]
    OMEMO_ERR_DEVICE_LIST_DOWNLOAD_FAILED = -406,
    /// A message could not be sent. [MessageSendingFailed]
    OMEMO_ERR_MESSAGE_SENDING_FAILED = -407,
    /// Too many publications on one node in a day; it goes on later.
    OMEMO_ERR_PUBLISH_LIMIT = -408,
    /// The message could not be authenticated. [DecryptionFailed]
    OMEMO_ERR_DECRYPTION_FAILED = -500,
    /// The message was decrypted before. [DuplicateMessageException, inside DecryptionFailed]
    OMEMO_ERR_DUPLICATE = -501,
    /// The message skips more keys than allowed. [TooManySkippedMessageKeys; DoSProtectionException]
    OMEMO_ERR_TOO_MANY_SKIPPED = -502,
    /// The message holds no key for this device. [MessageNotForUs]
    OMEMO_ERR_NOT_FOR_US = -503,
    /// There is no session with the sender's device. [NoSession]
    OMEMO_ERR_NO_SESSION = -504,
    /// Who sent this cannot be told. [SenderNotFound]
    OMEMO_ERR_SENDER_NOT_FOUND = -505,
    /// The sender's key is judged distrusted. [SenderDistrusted]
    OMEMO_ERR_SENDER_DISTRUSTED = -506,
    /// The sender's key is not the one known for the device. [PublicDataInconsistency]
    OMEMO_ERR_PUBLIC_DATA_INCONSISTENCY = -507,
    /// The key exchange names a pre key that does not exist any more.
    OMEMO_ERR_PRE_KEY_UNKNOWN = -508,
    /// This is our own message, sent back to us.
    OMEMO_ERR_OWN_ECHO = -509,
    /// The content says that somebody else has written it.
    OMEMO_ERR_AFFIX = -510,
}

impl From<Status> for omemo_status {
    fn from(status: Status) -> omemo_status {
        match status {
            Status::Ok => omemo_status::OMEMO_OK,
            Status::Null => omemo_status::OMEMO_ERR_NULL,
            Status::Utf8 => omemo_status::OMEMO_ERR_UTF8,
            Status::Argument => omemo_status::OMEMO_ERR_ARGUMENT,
            Status::Jid => omemo_status::OMEMO_ERR_JID,
            Status::Busy => omemo_status::OMEMO_ERR_BUSY,
            Status::Stale => omemo_status::OMEMO_ERR_STALE,
            Status::WrongAnswer => omemo_status::OMEMO_ERR_WRONG_ANSWER,
            Status::Cancelled => omemo_status::OMEMO_ERR_CANCELLED,
            Status::Pending => omemo_status::OMEMO_ERR_PENDING,
            Status::NotFound => omemo_status::OMEMO_ERR_NOT_FOUND,
            Status::Limit => omemo_status::OMEMO_ERR_LIMIT,
            Status::Malformed => omemo_status::OMEMO_ERR_MALFORMED,
            Status::NotReady => omemo_status::OMEMO_ERR_NOT_READY,
            Status::Internal => omemo_status::OMEMO_ERR_INTERNAL,
            Status::Storage => omemo_status::OMEMO_ERR_STORAGE,
            Status::StorageLocked => omemo_status::OMEMO_ERR_STORAGE_LOCKED,
            Status::StorageCorrupt => omemo_status::OMEMO_ERR_STORAGE_CORRUPT,
            Status::StorageVersion => omemo_status::OMEMO_ERR_STORAGE_VERSION,
            Status::StorageAccount => omemo_status::OMEMO_ERR_STORAGE_ACCOUNT,
            Status::UnknownNamespace => omemo_status::OMEMO_ERR_UNKNOWN_NAMESPACE,
            Status::UnknownTrustLevel => omemo_status::OMEMO_ERR_UNKNOWN_TRUST_LEVEL,
            Status::TrustDecisionFailed => omemo_status::OMEMO_ERR_TRUST_DECISION_FAILED,
            Status::StillUndecided => omemo_status::OMEMO_ERR_STILL_UNDECIDED,
            Status::Label => omemo_status::OMEMO_ERR_LABEL,
            Status::NoEligibleDevices => omemo_status::OMEMO_ERR_NO_ELIGIBLE_DEVICES,
            Status::NoDevices => omemo_status::OMEMO_ERR_NO_DEVICES,
            Status::Undecided => omemo_status::OMEMO_ERR_UNDECIDED,
            Status::Distrusted => omemo_status::OMEMO_ERR_DISTRUSTED,
            Status::IdentityChanged => omemo_status::OMEMO_ERR_IDENTITY_CHANGED,
            Status::IdentityMismatch => omemo_status::OMEMO_ERR_IDENTITY_MISMATCH,
            Status::BundleNotFound => omemo_status::OMEMO_ERR_BUNDLE_NOT_FOUND,
            Status::BundleBad => omemo_status::OMEMO_ERR_BUNDLE_BAD,
            Status::KeyExchangeFailed => omemo_status::OMEMO_ERR_KEY_EXCHANGE_FAILED,
            Status::Plaintext => omemo_status::OMEMO_ERR_PLAINTEXT,
            Status::Timeout => omemo_status::OMEMO_ERR_TIMEOUT,
            Status::Offline => omemo_status::OMEMO_ERR_OFFLINE,
            Status::BundleUploadFailed => omemo_status::OMEMO_ERR_BUNDLE_UPLOAD_FAILED,
            Status::BundleDownloadFailed => omemo_status::OMEMO_ERR_BUNDLE_DOWNLOAD_FAILED,
            Status::BundleDeletionFailed => omemo_status::OMEMO_ERR_BUNDLE_DELETION_FAILED,
            Status::DeviceListUploadFailed => omemo_status::OMEMO_ERR_DEVICE_LIST_UPLOAD_FAILED,
            Status::DeviceListDownloadFailed => omemo_status::OMEMO_ERR_DEVICE_LIST_DOWNLOAD_FAILED,
            Status::MessageSendingFailed => omemo_status::OMEMO_ERR_MESSAGE_SENDING_FAILED,
            Status::PublishLimit => omemo_status::OMEMO_ERR_PUBLISH_LIMIT,
            Status::DecryptionFailed => omemo_status::OMEMO_ERR_DECRYPTION_FAILED,
            Status::Duplicate => omemo_status::OMEMO_ERR_DUPLICATE,
            Status::TooManySkipped => omemo_status::OMEMO_ERR_TOO_MANY_SKIPPED,
            Status::NotForUs => omemo_status::OMEMO_ERR_NOT_FOR_US,
            Status::NoSession => omemo_status::OMEMO_ERR_NO_SESSION,
            Status::SenderNotFound => omemo_status::OMEMO_ERR_SENDER_NOT_FOUND,
            Status::SenderDistrusted => omemo_status::OMEMO_ERR_SENDER_DISTRUSTED,
            Status::PublicDataInconsistency => omemo_status::OMEMO_ERR_PUBLIC_DATA_INCONSISTENCY,
            Status::PreKeyUnknown => omemo_status::OMEMO_ERR_PRE_KEY_UNKNOWN,
            Status::OwnEcho => omemo_status::OMEMO_ERR_OWN_ECHO,
            Status::Affix => omemo_status::OMEMO_ERR_AFFIX,
        }
    }
}

/// The version of the library in use: MAJOR * 10000 + MINOR * 100 + PATCH.
///
/// Returns: the number; compare it with OMEMO_VERSION_MAJOR and its like.
///
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_version() -> u32 {
    const fn number(text: &str) -> u32 {
        match u32::from_str_radix(text, 10) {
            Ok(number) => number,
            Err(_) => 0,
        }
    }
    const MAJOR: u32 = number(env!("CARGO_PKG_VERSION_MAJOR"));
    const MINOR: u32 = number(env!("CARGO_PKG_VERSION_MINOR"));
    const PATCH: u32 = number(env!("CARGO_PKG_VERSION_PATCH"));
    const VERSION: u32 =
        MAJOR.saturating_mul(10_000).saturating_add(MINOR.saturating_mul(100)).saturating_add(PATCH);
    VERSION
}

/// The name of a status, as "OMEMO_ERR_STALE".
///
/// Parameters:
/// - status: any number; one that is no omemo_status gets a name that says so.
///
/// Returns: a constant, never NULL.
///
/// Memory: lives for ever.
///
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_status_name(status: i32) -> *const c_char {
    let unknown = c"OMEMO_ERR_(unknown)".as_ptr();
    guard::call(unknown, || {
        Status::from_number(status).map_or(unknown, |status| status.c_name().as_ptr().cast())
    })
}

/// One English sentence about a status.
///
/// Parameters:
/// - status: any number.
///
/// Returns: a constant, never NULL.
///
/// Memory: lives for ever.
///
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn omemo_status_text(status: i32) -> *const c_char {
    let unknown = c"This number is no status of this version of the library.".as_ptr();
    guard::call(unknown, || {
        Status::from_number(status).map_or(unknown, |status| status.c_text().as_ptr().cast())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_in_c_and_in_rust() {
        for status in Status::ALL {
            assert_eq!(omemo_status::from(*status) as i32, *status as i32, "{status:?}");
        }
    }
}
