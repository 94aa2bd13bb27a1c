//! How volumes grow: first the claims, then the StatefulSet is made again with a larger template, its pods untouched.

use manifest::units::parse_quantity;
use serde_json::{Value, json};

use crate::facts::{Answer, ClaimFacts};
use crate::shape::VolumeShape;
use crate::step::Waiting;

/// What to do about a group's volumes.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Volumes {
    /// What the StatefulSet says for now.
    pub(crate) shape: VolumeShape,
    /// Claims and what to merge into them.
    pub(crate) patches: Vec<(String, Value)>,
    /// Whether the StatefulSet has to be made again.
    pub(crate) remake: bool,
    pub(crate) waiting: Option<Waiting>,
}

/// Decides for one group. `made` is what its StatefulSet says, if there is one.
pub(crate) fn decide(
    wanted: &VolumeShape,
    made: Option<VolumeShape>,
    claims: &[&ClaimFacts],
    can_expand: Answer<bool>,
) -> Volumes {
    let blocked = |reason, message: String| Some(Waiting { reason, message, blocked: true });
    let keep =
        |waiting| Volumes { shape: made.clone().unwrap_or(wanted.clone()), waiting, ..Volumes::default() };
    let (Some(size), Some(bytes)) = (&wanted.size, bytes(wanted.size.as_deref())) else { return keep(None) };
    if made.as_ref().and_then(|made| self::bytes(made.size.as_deref())).is_some_and(|made| made > bytes) {
        let text = format!("spec.brokers.storage.size: {size} is less than the volumes have; they only grow");
        return keep(blocked("ShrinkRefused", text));
    }
    let small = |claim: &ClaimFacts| self::bytes(Some(&claim.requested)).is_some_and(|now| now < bytes);
    let smaller: Vec<&&ClaimFacts> = claims.iter().filter(|claim| small(claim)).collect();
    if !smaller.is_empty() && can_expand == Answer::Known(false) {
        let class = smaller[0].storage_class.as_deref().unwrap_or_default();
        let text = format!(
            "volumes of storage class {class} cannot grow; set its allowVolumeExpansion, or spec.brokers.storage.size \
             back to what it was"
        );
        return keep(blocked("ExpansionUnsupported", text));
    }
    let mut patches = Vec::new();
    for claim in claims {
        let mut spec = json!({});
        if small(claim) {
            spec["resources"]["requests"]["storage"] = json!(size);
        }
        if wanted.attributes_class.is_some() && claim.attributes_class != wanted.attributes_class {
            spec["volumeAttributesClassName"] = json!(wanted.attributes_class);
        }
        if spec != json!({}) {
            patches.push((claim.name.clone(), json!({ "spec": spec })));
        }
    }
    let same = |made: &VolumeShape| {
        self::bytes(made.size.as_deref()) == Some(bytes) && made.attributes_class == wanted.attributes_class
    };
    match made {
        // The same size in other words stays in the words that are there.
        Some(made) if same(&made) => Volumes { shape: made, patches, ..Volumes::default() },
        Some(made) if !patches.is_empty() => Volumes { shape: made, patches, ..Volumes::default() },
        Some(_) => Volumes { shape: wanted.clone(), remake: true, ..Volumes::default() },
        None => Volumes { shape: wanted.clone(), patches, ..Volumes::default() },
    }
}

/// Returns what a StatefulSet says of its volumes.
pub(crate) fn made(set: &Value) -> Option<VolumeShape> {
    let claim = set.pointer("/spec/volumeClaimTemplates/0/spec")?;
    let text = |path: &str| claim.pointer(path).and_then(Value::as_str).map(str::to_owned);
    Some(VolumeShape {
        size: text("/resources/requests/storage"),
        attributes_class: text("/volumeAttributesClassName"),
    })
}

fn bytes(text: Option<&str>) -> Option<u64> {
    text.and_then(parse_quantity).map(|size| size.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(size: &str) -> VolumeShape {
        VolumeShape { size: Some(size.to_owned()), attributes_class: None }
    }

    fn claim(size: &str) -> ClaimFacts {
        ClaimFacts { name: "data-x".to_owned(), requested: size.to_owned(), ..ClaimFacts::default() }
    }

    #[test]
    fn claims_grow_before_their_template() {
        let yes = Answer::Known(true);
        let cases = [
            ("new", None, vec![], yes, "10Gi", 0, false, ""),
            ("as it should be", Some("10Gi"), vec![claim("10Gi")], yes, "10Gi", 0, false, ""),
            ("in other words", Some("10240Mi"), vec![claim("10Gi")], yes, "10240Mi", 0, false, ""),
            ("claims first", Some("5Gi"), vec![claim("5Gi"), claim("10Gi")], yes, "5Gi", 1, false, ""),
            ("then the template", Some("5Gi"), vec![claim("10Gi")], yes, "10Gi", 0, true, ""),
            ("gone in between", None, vec![claim("5Gi")], yes, "10Gi", 1, false, ""),
            (
                "not known: Kubernetes says",
                Some("5Gi"),
                vec![claim("5Gi")],
                Answer::Unknown,
                "5Gi",
                1,
                false,
                "",
            ),
            (
                "impossible",
                Some("5Gi"),
                vec![claim("5Gi")],
                Answer::Known(false),
                "5Gi",
                0,
                false,
                "ExpansionUnsupported",
            ),
            ("never smaller", Some("20Gi"), vec![claim("20Gi")], yes, "20Gi", 0, false, "ShrinkRefused"),
        ];
        for (name, made, claims, can_expand, size, patches, remake, waiting) in cases {
            let claims: Vec<&ClaimFacts> = claims.iter().collect();
            let found = decide(&shape("10Gi"), made.map(shape), &claims, can_expand);
            assert_eq!(found.shape, shape(size), "{name}");
            assert_eq!((found.patches.len(), found.remake), (patches, remake), "{name}");
            assert_eq!(found.waiting.map_or("", |waiting| waiting.reason), waiting, "{name}");
        }
    }
}
