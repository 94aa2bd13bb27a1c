//! Encryption and access control.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Encryption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tls {
    /// Who issues certificates. Staged.
    pub issuer: TlsIssuer,
    /// How long a certificate holds, a duration. Default: `2160h`. Live.
    #[schemars(schema_with = "schema::duration")]
    pub validity: String,
    /// How long before its end a certificate is renewed, a duration. Default: `720h`. Live.
    #[schemars(schema_with = "schema::duration")]
    pub renew_before: String,
    /// Whether clients may or must show a certificate. Default: `None`. Live.
    pub client_auth: ClientAuth,
    /// Whether members talk to each other encrypted. Default: `Disabled`. Restart.
    pub internal: InternalTls,
}

/// Who issues certificates.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsIssuer {
    /// The operator (`SelfSigned`), cert-manager (`CertManager`), or somebody who fills a secret (`Secret`). Default:
    /// `SelfSigned`.
    #[serde(rename = "type")]
    pub kind: IssuerType,
    /// The issuer, with type `CertManager`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// The secret, with type `Secret`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
}

/// Who issues certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum IssuerType {
    #[default]
    SelfSigned,
    CertManager,
    Secret,
}

/// An issuer of cert-manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its kind: `Issuer`, `ClusterIssuer` or another. Default: `Issuer`.
    #[serde(default = "usual_issuer")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The API group of its kind. Default: `cert-manager.io`.
    #[serde(default = "usual_issuer_group")]
    #[schemars(length(min = 1, max = 253))]
    pub group: String,
}

fn usual_issuer() -> String {
    "Issuer".to_owned()
}

fn usual_issuer_group() -> String {
    "cert-manager.io".to_owned()
}

/// Whether clients may or must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ClientAuth {
    #[default]
    None,
    Optional,
    Required,
}

/// Whether members talk to each other encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum InternalTls {
    #[default]
    Disabled,
    Required,
}

/// Access control.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Acl {
    /// Whether clients must say who they are. Default: false. Live.
    pub enabled: bool,
    /// The generation of RocketMQ's access control. Default: `V2`. Fixed.
    pub version: AclVersion,
    /// The secret of the super user; required when enabled. Live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub super_user_secret_ref: Option<SecretRef>,
    /// What holds where no policy says anything. Default: `Deny`. Live.
    pub default_policy: AclPolicy,
}

/// A secret in the cluster's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The generation of RocketMQ's access control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum AclVersion {
    V1,
    #[default]
    V2,
}

/// What holds where no policy says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum AclPolicy {
    #[default]
    Deny,
    Allow,
}

impl Default for Tls {
    fn default() -> Self {
        Tls {
            issuer: TlsIssuer::default(),
            validity: "2160h".to_owned(),
            renew_before: "720h".to_owned(),
            client_auth: ClientAuth::default(),
            internal: InternalTls::default(),
        }
    }
}
