//! What can be searched, and by which names: a table for each kind of thing.

/// What is kept by key beside the thing itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    Metric,
    Param,
    Tag,
    Dataset,
}

/// What an attribute compares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
}

/// A column of the thing itself.
#[derive(Debug, PartialEq)]
pub(crate) struct Attribute {
    /// Names in filters; the first one is the proper one.
    pub(crate) names: &'static [&'static str],
    pub(crate) sql: &'static str,
    pub(crate) kind: Kind,
}

/// A kind of thing that can be searched.
#[derive(Debug)]
pub(crate) struct Entity {
    /// Its table and the name it goes by in SQL.
    pub(crate) table: &'static str,
    /// Column of its number.
    pub(crate) id: &'static str,
    pub(crate) attributes: &'static [Attribute],
    /// What it has by key: the table, its column of the thing's number, whether keys are numbers of the table `keys`.
    pub(crate) keyed: &'static [(Scope, &'static str, &'static str, bool)],
    /// What decides between equal ones.
    pub(crate) order: &'static str,
}

const fn text(names: &'static [&'static str], sql: &'static str) -> Attribute {
    Attribute { names, sql, kind: Kind::Text }
}

const fn number(names: &'static [&'static str], sql: &'static str) -> Attribute {
    Attribute { names, sql, kind: Kind::Number }
}

pub(crate) static RUNS: Entity = Entity {
    table: "runs r",
    id: "r.id",
    attributes: &[
        text(&["run_id", "run id", "run_uuid"], "r.run_id"),
        text(&["run_name", "run name"], "r.name"),
        text(&["status"], "r.status"),
        text(&["user_id", "user"], "r.user_id"),
        text(&["artifact_uri"], "r.artifact_uri"),
        text(&["experiment_id"], "CAST(r.experiment AS TEXT)"),
        text(&["lifecycle_stage"], "iif(r.deleted_ms IS NULL, 'active', 'deleted')"),
        number(&["start_time", "created"], "r.start_ms"),
        number(&["end_time"], "r.end_ms"),
    ],
    keyed: &[
        (Scope::Metric, "latest", "run", true),
        (Scope::Param, "params", "run", true),
        (Scope::Tag, "tags", "run", true),
        (Scope::Dataset, "inputs", "run", false),
    ],
    order: "r.start_ms DESC, r.run_id",
};

pub(crate) static EXPERIMENTS: Entity = Entity {
    table: "experiments e",
    id: "e.id",
    attributes: &[
        text(&["name"], "e.name"),
        text(&["experiment_id"], "CAST(e.id AS TEXT)"),
        number(&["creation_time"], "e.created_ms"),
        number(&["last_update_time"], "e.updated_ms"),
    ],
    keyed: &[(Scope::Tag, "experiment_tags", "owner", false)],
    order: "e.created_ms DESC, e.id DESC",
};

pub(crate) static LOGGED_MODELS: Entity = Entity {
    table: "models m",
    id: "m.id",
    attributes: &[
        text(&["name", "model_name"], "m.name"),
        text(&["model_id"], "m.model_id"),
        text(&["model_type"], "m.model_type"),
        text(&["status"], "m.status"),
        text(&["source_run_id"], "m.source_run_id"),
        text(&["experiment_id"], "CAST(m.experiment AS TEXT)"),
        number(&["creation_timestamp", "creation_time", "creation_timestamp_ms"], "m.created_ms"),
        number(&["last_updated_timestamp", "last_updated_timestamp_ms"], "m.updated_ms"),
    ],
    keyed: &[
        (
            Scope::Metric,
            "(SELECT owner, key, value, max(time_ms) FROM model_metrics GROUP BY owner, key)",
            "owner",
            false,
        ),
        (Scope::Param, "model_params", "owner", false),
        (Scope::Tag, "model_tags", "owner", false),
    ],
    order: "m.created_ms DESC, m.model_id",
};

pub(crate) static REGISTERED_MODELS: Entity = Entity {
    table: "registered_models g",
    id: "g.id",
    attributes: &[
        text(&["name"], "g.name"),
        number(&["creation_timestamp", "creation_time"], "g.created_ms"),
        number(&["last_updated_timestamp", "timestamp"], "g.updated_ms"),
    ],
    keyed: &[(Scope::Tag, "registered_model_tags", "owner", false)],
    order: "g.name",
};

pub(crate) static MODEL_VERSIONS: Entity = Entity {
    table: "model_versions v JOIN registered_models g ON g.id = v.owner",
    id: "v.id",
    attributes: &[
        text(&["name"], "g.name"),
        text(&["run_id"], "v.run_id"),
        text(&["source_path", "source"], "v.source"),
        text(&["user_id"], "v.user_id"),
        text(&["current_stage"], "v.stage"),
        number(&["version_number", "version"], "v.version"),
        number(&["creation_timestamp", "creation_time"], "v.created_ms"),
        number(&["last_updated_timestamp"], "v.updated_ms"),
    ],
    keyed: &[(Scope::Tag, "model_version_tags", "owner", false)],
    order: "v.updated_ms DESC, g.name, v.version DESC",
};

impl Entity {
    /// The attribute with a name.
    pub(crate) fn attribute(&self, name: &str) -> Option<&'static Attribute>
    where
        Self: 'static,
    {
        let attributes: &'static [Attribute] = self.attributes;
        attributes.iter().find(|attribute| attribute.names.iter().any(|known| known.eq_ignore_ascii_case(name)))
    }

    /// Where what it has by key is kept.
    pub(crate) fn keyed(&self, scope: Scope) -> Option<(&'static str, &'static str, bool)> {
        let found = self.keyed.iter().find(|(known, ..)| *known == scope);
        found.map(|&(_, table, owner, interned)| (table, owner, interned))
    }
}

impl Scope {
    /// The scope with this name in filters; `None` for the name of attributes as well.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "metric" | "metrics" => Some(Self::Metric),
            "param" | "params" | "parameter" | "parameters" => Some(Self::Param),
            "tag" | "tags" => Some(Self::Tag),
            "dataset" | "datasets" => Some(Self::Dataset),
            _ => None,
        }
    }
}

/// Names of the scope of attributes in filters.
pub(crate) fn names_attributes(name: &str) -> bool {
    matches!(name.to_ascii_lowercase().as_str(), "attribute" | "attributes" | "attr" | "run")
}
