//! The list of requests (requests.txt) and how alike their answers have to be.

/// How alike two answers have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alike {
    /// `=`: status, headers and body, byte by byte.
    Bytes,
    /// `~`: status, headers, and a body of the same shape: keys in the same order, values of the same types.
    Shape,
    /// `+`: as `~`, but objects may have further keys at their ends.
    More,
    /// `*`: as `=`, but the elements of lists may come in another order.
    Order,
    /// `e`: status, headers and `errorType`, with another text.
    Error,
    /// `!`: not alike at all, for a reason.
    Not,
}

/// One line of the list.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: usize,
    pub(crate) alike: Alike,
    /// Why the answers may differ; empty where they may not.
    pub(crate) reason: String,
    /// The request without the blank line's end: what is sent.
    pub(crate) bytes: Vec<u8>,
    /// The line, for messages.
    pub(crate) shown: String,
}

/// Requests of a list. Each line is `MODE METHOD TARGET [;; PART]... [-- REASON]`; a part is a header (`name: value`), a
/// form (`< a=b&c=d`), or `HTTP/1.0`. `\xff` is a byte. `GET+POST path?a=b` stands for two requests: the parameters by
/// query string, and by form.
pub(crate) fn parse(text: &str) -> Vec<Request> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(|(index, line)| requests(index + 1, line)).collect()
}

fn requests(line: usize, text: &str) -> Vec<Request> {
    let (what, reason) = text.split_once(" -- ").unwrap_or((text, ""));
    let alike = match &what[..2] {
        "= " => Alike::Bytes,
        "~ " => Alike::Shape,
        "+ " => Alike::More,
        "* " => Alike::Order,
        "e " => Alike::Error,
        "! " => Alike::Not,
        other => panic!("requests.txt:{line}: unknown mode {other:?}"),
    };
    assert_eq!(reason.is_empty(), alike == Alike::Bytes, "requests.txt:{line}: differences have reasons");
    let request = |what: &str| Request {
        line,
        alike,
        reason: reason.to_owned(),
        bytes: encode(what).unwrap_or_else(|| panic!("requests.txt:{line}: no request")),
        shown: what.to_owned(),
    };
    match what[2..].strip_prefix("GET+POST ") {
        None => vec![request(&what[2..])],
        Some(rest) => {
            let (target, form) = rest.split_once('?').unwrap_or((rest, ""));
            vec![request(&format!("GET {rest}")), request(&format!("POST {target} ;; < {form}"))]
        }
    }
}

fn encode(what: &str) -> Option<Vec<u8>> {
    let mut parts = what.split(" ;; ");
    let (method, target) = parts.next()?.split_once(' ')?;
    let (mut version, mut headers, mut body) = ("HTTP/1.1", String::new(), Vec::new());
    for part in parts {
        if let Some(form) = part.strip_prefix('<') {
            body = unescaped(form.trim_start());
            headers.push_str("content-type: application/x-www-form-urlencoded\r\n");
        } else if part == "HTTP/1.0" {
            version = part;
        } else {
            headers.push_str(part);
            headers.push_str("\r\n");
        }
    }
    let mut bytes = format!("{method} ").into_bytes();
    bytes.extend(unescaped(target));
    let len = body.len();
    bytes.extend(format!(" {version}\r\nhost: localhost\r\nconnection: close\r\n{headers}").bytes());
    if len > 0 || method == "POST" || method == "PUT" {
        bytes.extend(format!("content-length: {len}\r\n").bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend(body);
    Some(bytes)
}

/// Replaces `\xff` by that byte, and `\{a*1000}` by so many letters.
fn unescaped(text: &str) -> Vec<u8> {
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let rest = match part.strip_prefix('x') {
            Some(hex) => {
                out.push(u8::from_str_radix(&hex[..2], 16).expect("\\x has two digits"));
                &hex[2..]
            }
            None => {
                let (repeated, rest) = part.strip_prefix('{').and_then(|part| part.split_once('}')).expect("\\{a*9}");
                let (letters, count) = repeated.split_once('*').expect("\\{a*9}");
                out.extend(letters.repeat(count.parse().expect("a count")).into_bytes());
                rest
            }
        };
        out.extend_from_slice(rest.as_bytes());
    }
    out
}

#[test]
fn lines_become_requests() {
    let list = parse("# comment\n\n= GET+POST /a?b=\\xff ;; HTTP/1.0\n! PUT /c ;; x: y -- why\n");
    let texts: Vec<_> = list.iter().map(|request| String::from_utf8_lossy(&request.bytes).into_owned()).collect();
    assert_eq!(texts[0], "GET /a?b=\u{fffd} HTTP/1.0\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert!(texts[1].starts_with("POST /a HTTP/1.0\r\n") && texts[1].ends_with("content-length: 3\r\n\r\nb=\u{fffd}"));
    assert!(texts[2].contains("\r\nx: y\r\n") && list[2].alike == Alike::Not && list[2].reason == "why");
    assert_eq!(unescaped("a\\{xy*2}b"), b"axyxyb");
}
