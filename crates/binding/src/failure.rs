//! How failures cross to JavaScript: as an error with one of the package's codes.

/// A failure with a code.
pub type Fail = napi::Error<String>;
/// Result of every exported function.
pub type Result<T> = std::result::Result<T, Fail>;

/// The arena's error as JavaScript sees it.
pub fn fail(error: polyproc_arena::Error) -> Fail {
    Fail::new(error.code().to_owned(), error.to_string())
}

/// Wrong use.
pub fn state(text: impl Into<String>) -> Fail {
    Fail::new("ERR_POLYPROC_STATE".to_owned(), text.into())
}

/// A failure of Node-API itself.
pub fn node(status: napi::sys::napi_status, what: &str) -> Result<()> {
    if status == napi::sys::Status::napi_ok {
        Ok(())
    } else {
        Err(state(format!("{what} failed with Node-API status {status}")))
    }
}
