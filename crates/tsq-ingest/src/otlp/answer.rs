//! Forms of bodies, and the answers in them.

use super::report::Report;
use crate::protobuf::Writer;

/// How a request and its answer are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Binary protobuf.
    Protobuf,
    /// JSON with the rules of OTLP: `lowerCamelCase` names, hexadecimal trace and span ids, enums as numbers.
    Json,
}

impl Form {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// The form of a media type, whose parameters do not matter.
    pub fn of_media_type(content_type: &str) -> Option<Self> {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        [Self::Protobuf, Self::Json].into_iter().find(|form| media.eq_ignore_ascii_case(form.media_type()))
    }

    /// An `ExportMetricsServiceResponse`: empty when everything was stored.
    pub fn response(self, report: &Report) -> Vec<u8> {
        let Some(message) = report.message() else {
            return if self == Self::Json { b"{}".to_vec() } else { Vec::new() };
        };
        match self {
            Self::Protobuf => {
                let mut out = Writer::default();
                out.message(1, |partial| {
                    partial.varint(1, report.rejected);
                    partial.bytes(2, message.as_bytes());
                });
                out.0
            }
            Self::Json => {
                let (rejected, message) = (report.rejected.to_string(), json_text(&message));
                format!(r#"{{"partialSuccess":{{"rejectedDataPoints":"{rejected}","errorMessage":{message}}}}}"#)
                    .into_bytes()
            }
        }
    }

    /// A `google.rpc.Status`.
    pub fn status(self, code: StatusCode, message: &str) -> Vec<u8> {
        match self {
            Self::Protobuf => {
                let mut out = Writer::default();
                out.varint(1, code as u64);
                out.bytes(2, message.as_bytes());
                out.0
            }
            Self::Json => format!(r#"{{"code":{},"message":{}}}"#, code as u64, json_text(message)).into_bytes(),
        }
    }
}

fn json_text(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}

/// The codes of `google.rpc.Status` that answers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatusCode {
    /// The request can never be accepted.
    InvalidArgument = 3,
    /// Who asks may not do that.
    PermissionDenied = 7,
    /// Too large.
    ResourceExhausted = 8,
    /// Not spoken here.
    Unimplemented = 12,
    /// Later.
    Unavailable = 14,
}

#[cfg(test)]
mod tests {
    use tsq_core::RejectReason;

    use super::*;

    #[test]
    fn answers_in_both_forms() {
        let mut report = Report::default();
        report.points += 2;
        assert_eq!(Form::Protobuf.response(&report), b"");
        assert_eq!(Form::Json.response(&report), b"{}");
        report.reject(RejectReason::InvalidPoint, 300, || "a \"b\"".to_owned());
        let text = "300 data points refused, 2 stored: a \"b\"";
        let want = [b"\x0a\x2d\x08\xac\x02\x12\x28", text.as_bytes()].concat();
        assert_eq!(Form::Protobuf.response(&report), want);
        let json: serde_json::Value = serde_json::from_slice(&Form::Json.response(&report)).unwrap();
        assert_eq!(json["partialSuccess"]["rejectedDataPoints"], "300");
        assert_eq!(json["partialSuccess"]["errorMessage"], text);
        assert_eq!(Form::Protobuf.status(StatusCode::Unavailable, "x"), b"\x08\x0e\x12\x01x");
        assert_eq!(Form::Json.status(StatusCode::InvalidArgument, "\n"), br#"{"code":3,"message":"\n"}"#);
    }

    #[test]
    fn media_types() {
        assert_eq!(Form::of_media_type("Application/JSON; charset=utf-8"), Some(Form::Json));
        assert_eq!(Form::of_media_type("application/x-protobuf"), Some(Form::Protobuf));
        assert_eq!(Form::of_media_type("text/plain"), None);
    }
}
