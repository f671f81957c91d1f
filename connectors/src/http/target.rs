//! The URL that a sink posts to.

use hyper::Uri;
use hyper::http::uri::Authority;
use lineshaft_engine::declaration::OptionError;

const DEFAULT_PORT: u16 = 80;

/// Where a sink posts.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    /// As it was written, for messages.
    pub(super) url: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: Uri,
    /// Host and port of the header `Host`.
    pub(super) authority: String,
}

/// The parts of a URL.
pub(super) fn target(url: &str) -> Result<Target, OptionError> {
    let wrong =
        |message: String| Err(OptionError::of("url", message).help("write such as 'http://mes:8000/alarms'"));
    let not_a_url = || wrong(format!("{url:?} is not the URL of a server"));
    let Ok(uri) = Uri::try_from(url) else { return not_a_url() };
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return wrong("https is not supported yet".into()),
        Some(other) => return wrong(format!("a server is not reached by {other:?}")),
        None => return not_a_url(),
    }
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return not_a_url();
    };
    if authority.as_str().contains('@') {
        let error = OptionError::of("url", "the URL of a server has a user in it");
        return Err(error.help("use the option token, or headers = 'Authorization: Basic ...'"));
    }
    let has_port = authority.as_str().rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    if has_port && authority.port_u16().is_none_or(|port| port == 0) {
        return not_a_url();
    }
    Ok(Target {
        url: url.to_owned(),
        host: without_brackets(authority),
        port: authority.port_u16().unwrap_or(DEFAULT_PORT),
        path: uri.path_and_query().map(|path| Uri::from(path.clone())).unwrap_or_default(),
        authority: authority.to_string(),
    })
}

/// The host as the system resolves it: an IPv6 address has brackets in a URL only.
fn without_brackets(authority: &Authority) -> String {
    authority.host().trim_start_matches('[').trim_end_matches(']').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_a_host_and_perhaps_a_port_a_path_and_a_query() {
        let parts = |url| target(url).map(|target| (target.host, target.port, target.path.to_string()));
        assert_eq!(parts("http://mes:8000/a/b?c=d").unwrap(), ("mes".into(), 8000, "/a/b?c=d".into()));
        assert_eq!(parts("http://mes").unwrap(), ("mes".into(), 80, "/".into()));
        assert_eq!(parts("http://[::1]:81/").unwrap(), ("::1".into(), 81, "/".into()));
        for wrong in [
            "mes:8000",
            "/a",
            "ftp://mes",
            "http://",
            "http://mes:70000",
            "http://mes:0",
            "http://u:p@mes",
            "http://a b",
        ] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
        assert_eq!(target("https://mes/").unwrap_err().message, "https is not supported yet");
    }
}
