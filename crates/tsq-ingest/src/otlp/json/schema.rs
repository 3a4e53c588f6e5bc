//! The messages of OTLP metrics: names, numbers and types of their fields.

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) fields: &'static [Field],
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    /// Name in JSON.
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
}

/// Type of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    Bool,
    /// `uint32` and `uint64`, and enums.
    Unsigned,
    /// `int64`.
    Signed,
    /// `sint32`.
    ZigZag,
    /// `fixed64`.
    Fixed,
    /// `sfixed64`.
    SignedFixed,
    Double,
    /// Bytes of an identifier.
    Hex,
    /// Other bytes.
    Base64,
    Message(&'static Message),
}

const fn one(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, repeated: false }
}

const fn many(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, repeated: true }
}

pub(super) static EXPORT_METRICS: Message =
    Message { fields: &[many("resourceMetrics", 1, Kind::Message(&RESOURCE_METRICS))] };

static RESOURCE_METRICS: Message = Message {
    fields: &[
        one("resource", 1, Kind::Message(&RESOURCE)),
        many("scopeMetrics", 2, Kind::Message(&SCOPE_METRICS)),
        one("schemaUrl", 3, Kind::Text),
    ],
};

static RESOURCE: Message = Message { fields: &[many("attributes", 1, Kind::Message(&KEY_VALUE))] };

static SCOPE_METRICS: Message = Message {
    fields: &[
        one("scope", 1, Kind::Message(&SCOPE)),
        many("metrics", 2, Kind::Message(&METRIC)),
        one("schemaUrl", 3, Kind::Text),
    ],
};

static SCOPE: Message = Message {
    fields: &[
        one("name", 1, Kind::Text),
        one("version", 2, Kind::Text),
        many("attributes", 3, Kind::Message(&KEY_VALUE)),
    ],
};

static KEY_VALUE: Message =
    Message { fields: &[one("key", 1, Kind::Text), one("value", 2, Kind::Message(&ANY_VALUE))] };

static ANY_VALUE: Message = Message {
    fields: &[
        one("stringValue", 1, Kind::Text),
        one("boolValue", 2, Kind::Bool),
        one("intValue", 3, Kind::Signed),
        one("doubleValue", 4, Kind::Double),
        one("arrayValue", 5, Kind::Message(&ARRAY_VALUE)),
        one("kvlistValue", 6, Kind::Message(&KEY_VALUE_LIST)),
        one("bytesValue", 7, Kind::Base64),
    ],
};

static ARRAY_VALUE: Message = Message { fields: &[many("values", 1, Kind::Message(&ANY_VALUE))] };

static KEY_VALUE_LIST: Message = Message { fields: &[many("values", 1, Kind::Message(&KEY_VALUE))] };

static METRIC: Message = Message {
    fields: &[
        one("name", 1, Kind::Text),
        one("description", 2, Kind::Text),
        one("unit", 3, Kind::Text),
        one("gauge", 5, Kind::Message(&GAUGE)),
        one("sum", 7, Kind::Message(&SUM)),
        one("histogram", 9, Kind::Message(&HISTOGRAM)),
        one("exponentialHistogram", 10, Kind::Message(&EXPONENTIAL_HISTOGRAM)),
        one("summary", 11, Kind::Message(&SUMMARY)),
    ],
};

static GAUGE: Message = Message { fields: &[many("dataPoints", 1, Kind::Message(&NUMBER_POINT))] };

static SUM: Message = Message {
    fields: &[
        many("dataPoints", 1, Kind::Message(&NUMBER_POINT)),
        one("aggregationTemporality", 2, Kind::Unsigned),
        one("isMonotonic", 3, Kind::Bool),
    ],
};

static HISTOGRAM: Message = Message {
    fields: &[many("dataPoints", 1, Kind::Message(&HISTOGRAM_POINT)), one("aggregationTemporality", 2, Kind::Unsigned)],
};

static EXPONENTIAL_HISTOGRAM: Message = Message {
    fields: &[
        many("dataPoints", 1, Kind::Message(&EXPONENTIAL_POINT)),
        one("aggregationTemporality", 2, Kind::Unsigned),
    ],
};

static SUMMARY: Message = Message { fields: &[many("dataPoints", 1, Kind::Message(&SUMMARY_POINT))] };

static NUMBER_POINT: Message = Message {
    fields: &[
        many("attributes", 7, Kind::Message(&KEY_VALUE)),
        one("startTimeUnixNano", 2, Kind::Fixed),
        one("timeUnixNano", 3, Kind::Fixed),
        one("asDouble", 4, Kind::Double),
        one("asInt", 6, Kind::SignedFixed),
        many("exemplars", 5, Kind::Message(&EXEMPLAR)),
        one("flags", 8, Kind::Unsigned),
    ],
};

static HISTOGRAM_POINT: Message = Message {
    fields: &[
        many("attributes", 9, Kind::Message(&KEY_VALUE)),
        one("startTimeUnixNano", 2, Kind::Fixed),
        one("timeUnixNano", 3, Kind::Fixed),
        one("count", 4, Kind::Fixed),
        one("sum", 5, Kind::Double),
        many("bucketCounts", 6, Kind::Fixed),
        many("explicitBounds", 7, Kind::Double),
        many("exemplars", 8, Kind::Message(&EXEMPLAR)),
        one("flags", 10, Kind::Unsigned),
    ],
};

static EXPONENTIAL_POINT: Message = Message {
    fields: &[
        many("attributes", 1, Kind::Message(&KEY_VALUE)),
        one("startTimeUnixNano", 2, Kind::Fixed),
        one("timeUnixNano", 3, Kind::Fixed),
        one("count", 4, Kind::Fixed),
        one("sum", 5, Kind::Double),
        one("scale", 6, Kind::ZigZag),
        one("zeroCount", 7, Kind::Fixed),
        one("positive", 8, Kind::Message(&BUCKETS)),
        one("negative", 9, Kind::Message(&BUCKETS)),
        one("flags", 10, Kind::Unsigned),
        many("exemplars", 11, Kind::Message(&EXEMPLAR)),
        one("zeroThreshold", 14, Kind::Double),
    ],
};

static BUCKETS: Message =
    Message { fields: &[one("offset", 1, Kind::ZigZag), many("bucketCounts", 2, Kind::Unsigned)] };

static SUMMARY_POINT: Message = Message {
    fields: &[
        many("attributes", 7, Kind::Message(&KEY_VALUE)),
        one("startTimeUnixNano", 2, Kind::Fixed),
        one("timeUnixNano", 3, Kind::Fixed),
        one("count", 4, Kind::Fixed),
        one("sum", 5, Kind::Double),
        many("quantileValues", 6, Kind::Message(&QUANTILE)),
        one("flags", 8, Kind::Unsigned),
    ],
};

static QUANTILE: Message = Message { fields: &[one("quantile", 1, Kind::Double), one("value", 2, Kind::Double)] };

static EXEMPLAR: Message = Message {
    fields: &[
        many("filteredAttributes", 7, Kind::Message(&KEY_VALUE)),
        one("timeUnixNano", 2, Kind::Fixed),
        one("asDouble", 3, Kind::Double),
        one("asInt", 6, Kind::SignedFixed),
        one("spanId", 4, Kind::Hex),
        one("traceId", 5, Kind::Hex),
    ],
};
