//! Requests: `prometheus.ReadRequest`.

use crate::error::DecodeError;
use crate::protobuf::{BYTES, Reader, VARINT, Writer, bytes_key, key, utf8};
use crate::remote_write::decompress;

/// Queries of one request.
const QUERIES_MAX: usize = 1000;

/// Matchers of one request, over all queries.
const MATCHERS_MAX: usize = 10_000;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadRequest {
    /// Each is answered on its own, in this order.
    pub queries: Vec<Query>,
    /// The forms of answer that the client understands, the best first. None: [`ResponseType::Samples`].
    pub accepted: Vec<ResponseType>,
}

impl ReadRequest {
    /// The first form that the client accepts and is known here.
    pub fn response_type(&self) -> Option<ResponseType> {
        let known = |accepted: &&ResponseType| !matches!(accepted, ResponseType::Unknown(_));
        if self.accepted.is_empty() { Some(ResponseType::Samples) } else { self.accepted.iter().find(known).copied() }
    }
}

/// A form of answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseType {
    /// One message with every sample.
    Samples,
    /// Frames of chunks.
    StreamedChunks,
    /// One that is not known here.
    Unknown(u64),
}

impl ResponseType {
    fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Samples,
            1 => Self::StreamedChunks,
            other => Self::Unknown(other),
        }
    }

    fn number(self) -> u64 {
        match self {
            Self::Samples => 0,
            Self::StreamedChunks => 1,
            Self::Unknown(number) => number,
        }
    }
}

/// Series that match, and their samples in a range of times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// First time, in milliseconds.
    pub start_ms: i64,
    /// Last time, in milliseconds.
    pub end_ms: i64,
    /// All have to match.
    pub matchers: Vec<LabelMatcher>,
    /// The times that the client is going to look at, first and last; it does not mind more.
    pub hinted_ms: Option<(i64, i64)>,
    /// The PromQL function that the samples are for. `series`: only labels are wanted.
    pub function: String,
}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMatcher {
    /// How it compares.
    pub match_type: MatchType,
    /// Label name.
    pub name: String,
    /// Label value, or a pattern.
    pub value: String,
}

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchType {
    /// `=`
    Equal = 0,
    /// `!=`
    NotEqual = 1,
    /// `=~`
    Match = 2,
    /// `!~`
    NotMatch = 3,
}

/// Decodes a request body. `bytes_max` bounds the request once decompressed.
///
/// # Errors
/// The first byte that is no part of a request; [`DecodeErrorKind::TooLarge`](crate::DecodeErrorKind::TooLarge) for
/// more than `bytes_max` bytes, 1,000 queries or 10,000 matchers.
pub fn decode_request(body: &[u8], bytes_max: usize) -> Result<ReadRequest, DecodeError> {
    let mut plain = Vec::new();
    decompress(body, bytes_max, &mut plain)?;
    decode(Reader::new(&plain))
}

fn decode(mut message: Reader<'_>) -> Result<ReadRequest, DecodeError> {
    const QUERIES: u32 = bytes_key(1);
    const ACCEPTED: u32 = key(2, VARINT);
    const ACCEPTED_PACKED: u32 = key(2, BYTES);
    let mut request = ReadRequest::default();
    let mut matchers = 0;
    while let Some(field) = message.key()? {
        match field {
            QUERIES => {
                let offset = message.pos();
                let query = query(message.message()?)?;
                matchers += query.matchers.len();
                if matchers > MATCHERS_MAX || request.queries.len() == QUERIES_MAX {
                    let message = format!("more than {QUERIES_MAX} queries or {MATCHERS_MAX} matchers");
                    return Err(DecodeError::too_large(offset, message));
                }
                request.queries.push(query);
            }
            ACCEPTED => accept(&mut request, message.varint()?),
            ACCEPTED_PACKED => message.packed_varints(|number| accept(&mut request, number))?,
            other => message.skip(other, 0b110)?,
        }
    }
    Ok(request)
}

/// Of each form only the first mention counts, and of unknown ones only the first.
fn accept(request: &mut ReadRequest, number: u64) {
    let accepted = ResponseType::from_number(number);
    let same = |known: &ResponseType| match (known, accepted) {
        (ResponseType::Unknown(_), ResponseType::Unknown(_)) => true,
        (known, accepted) => *known == accepted,
    };
    if !request.accepted.iter().any(same) {
        request.accepted.push(accepted);
    }
}

fn query(mut message: Reader<'_>) -> Result<Query, DecodeError> {
    const START: u32 = key(1, VARINT);
    const END: u32 = key(2, VARINT);
    const MATCHERS: u32 = bytes_key(3);
    const HINTS: u32 = bytes_key(4);
    let mut query = Query::default();
    while let Some(field) = message.key()? {
        match field {
            START => query.start_ms = message.varint()? as i64,
            END => query.end_ms = message.varint()? as i64,
            MATCHERS => query.matchers.push(matcher(message.message()?)?),
            HINTS => hints(message.message()?, &mut query)?,
            other => message.skip(other, 0b11110)?,
        }
    }
    Ok(query)
}

fn matcher(mut message: Reader<'_>) -> Result<LabelMatcher, DecodeError> {
    const TYPE: u32 = key(1, VARINT);
    const NAME: u32 = bytes_key(2);
    const VALUE: u32 = bytes_key(3);
    let offset = message.pos();
    let (mut number, mut name, mut value) = (0, &[][..], &[][..]);
    while let Some(field) = message.key()? {
        match field {
            TYPE => number = message.varint()?,
            NAME => name = message.bytes()?,
            VALUE => value = message.bytes()?,
            other => message.skip(other, 0b1110)?,
        }
    }
    let types = [MatchType::Equal, MatchType::NotEqual, MatchType::Match, MatchType::NotMatch];
    let Some(match_type) = types.into_iter().find(|known| *known as u64 == number) else {
        return Err(DecodeError::malformed(offset, format!("matcher type {number} is none of 0 to 3")));
    };
    let text = |bytes, what| utf8(bytes, what).map(str::to_owned).map_err(|e| DecodeError::malformed(offset, e));
    Ok(LabelMatcher { match_type, name: text(name, "label name")?, value: text(value, "label value")? })
}

fn hints(mut message: Reader<'_>, query: &mut Query) -> Result<(), DecodeError> {
    const FUNCTION: u32 = bytes_key(2);
    const START: u32 = key(3, VARINT);
    const END: u32 = key(4, VARINT);
    let (mut start_ms, mut end_ms) = (0, 0);
    while let Some(field) = message.key()? {
        match field {
            // A name that is no text is that of no function.
            FUNCTION => query.function = String::from_utf8_lossy(message.bytes()?).into_owned(),
            START => start_ms = message.varint()? as i64,
            END => end_ms = message.varint()? as i64,
            other => message.skip(other, 0b1_1100)?,
        }
    }
    // Clients may send hints without times.
    query.hinted_ms = (start_ms != 0 || end_ms != 0).then_some((start_ms, end_ms));
    Ok(())
}

/// Encodes a request, snappy-compressed.
pub fn encode_request(request: &ReadRequest) -> Vec<u8> {
    let mut body = Writer::default();
    for query in &request.queries {
        body.message(1, |out| put_query(out, query));
    }
    for accepted in &request.accepted {
        // Zero too: it stands for a form.
        body.raw_varint(u64::from(key(2, VARINT)));
        body.raw_varint(accepted.number());
    }
    snap::raw::Encoder::new().compress_vec(&body.0).expect("a request to encode is below 4 GiB")
}

fn put_query(out: &mut Writer, query: &Query) {
    out.varint(1, query.start_ms as u64);
    out.varint(2, query.end_ms as u64);
    for matcher in &query.matchers {
        out.message(3, |out| {
            out.varint(1, matcher.match_type as u64);
            out.bytes(2, matcher.name.as_bytes());
            out.bytes(3, matcher.value.as_bytes());
        });
    }
    if query.hinted_ms.is_none() && query.function.is_empty() {
        return;
    }
    out.message(4, |out| {
        let (start_ms, end_ms) = query.hinted_ms.unwrap_or_default();
        out.bytes(2, query.function.as_bytes());
        out.varint(3, start_ms as u64);
        out.varint(4, end_ms as u64);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DecodeErrorKind;

    fn request() -> ReadRequest {
        let matcher = |match_type, name: &str, value: &str| LabelMatcher {
            match_type,
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let one = Query {
            start_ms: -5,
            end_ms: i64::MAX,
            matchers: vec![
                matcher(MatchType::Equal, "__name__", "up"),
                matcher(MatchType::NotEqual, "a", ""),
                matcher(MatchType::Match, "é", ".*"),
                matcher(MatchType::NotMatch, "b", "x|y"),
            ],
            hinted_ms: Some((-4, 0)),
            function: "rate".to_owned(),
        };
        let accepted = vec![ResponseType::StreamedChunks, ResponseType::Samples];
        ReadRequest { queries: vec![one, Query::default()], accepted }
    }

    #[test]
    fn requests_are_read_back() {
        let want = request();
        assert_eq!(decode_request(&encode_request(&want), 1 << 20).unwrap(), want);
        assert_eq!(want.response_type(), Some(ResponseType::StreamedChunks));
        let plain = |accepted| ReadRequest { accepted, ..ReadRequest::default() }.response_type();
        assert_eq!(plain(vec![]), Some(ResponseType::Samples));
        assert_eq!(plain(vec![ResponseType::Unknown(7)]), None);
        assert_eq!(plain(vec![ResponseType::Unknown(7), ResponseType::Samples]), Some(ResponseType::Samples));
    }

    #[test]
    fn lists_of_response_types_may_be_packed() {
        let body = snap::raw::Encoder::new().compress_vec(b"\x12\x04\x01\x00\x01\x05").unwrap();
        let request = decode_request(&body, 100).unwrap();
        let unknown = ResponseType::Unknown(5);
        assert_eq!(request.accepted, [ResponseType::StreamedChunks, ResponseType::Samples, unknown]);
    }

    #[test]
    fn bad_requests_are_refused_with_the_place() {
        let compressed = |plain: &[u8]| snap::raw::Encoder::new().compress_vec(plain).unwrap();
        for (plain, text) in [
            (&b"\x0a\x05\x1a\x02\x08\x04\x00"[..], "matcher type 4"),
            (b"\x0a\x05\x1a\x03\x12\x01\xff", "UTF-8"),
            (b"\x0a\x09", "expected 9 more bytes"),
            (b"\x08\x01", "field 1 has the unexpected wire type 0"),
        ] {
            let error = decode_request(&compressed(plain), 1 << 20).unwrap_err();
            assert_eq!(error.kind(), DecodeErrorKind::Malformed);
            assert!(error.to_string().contains(text), "{error}");
        }
        let many = ReadRequest { queries: vec![Query::default(); 1001], ..ReadRequest::default() };
        assert_eq!(decode_request(&encode_request(&many), 1 << 20).unwrap_err().kind(), DecodeErrorKind::TooLarge);
        let error = decode_request(&encode_request(&request()), 10).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::TooLarge);
    }
}
