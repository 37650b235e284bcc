package api

import "time"

// Login tells where to log in, and as which client.
type Login struct {
	Issuer   string   `json:"issuer" doc:"URL of the OIDC issuer"`
	ClientID string   `json:"clientId"`
	Scopes   []string `json:"scopes,omitempty"`
}

// Whoami is who asks, as control knows them.
type Whoami struct {
	// Name stands in history as the author of what they change.
	Name string `json:"name" doc:"as in history: token:shop/ci, user:alice@example.org, spiffe://example.org/deploy, admin-token"`
	// Subjects are what an Access can name.
	Subjects []string  `json:"subjects,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`
	// Roles are those that they have, by tenant; * is every tenant but platform. Admins of platform are that everywhere.
	Roles map[string]string `json:"roles"`
}

// TokenRequest asks for a service token.
type TokenRequest struct {
	Name string `json:"name" maxLength:"63"`
	Role string `json:"role" enum:"viewer,operator,editor,admin"`
	// For is how long it holds, as in 30d; absent: 90 days.
	For     string `json:"for,omitempty" maxLength:"32" doc:"how long it holds, as in 30d; absent: 90d"`
	Forever bool   `json:"forever,omitempty" doc:"it holds until it is revoked"`
}

// Token is a service token, but for its secret, which nobody knows but who made it.
type Token struct {
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
	// ID is the part of it that is no secret: gtm_ID_....
	ID   string `json:"id,omitempty"`
	Role string `json:"role"`
	By   string `json:"by" doc:"who made it"`
	// Maker tells whether who made it may still make tokens of the tenant; unknown: that is a matter of their groups, which a login tells.
	Maker   string    `json:"maker,omitempty" enum:"holds,lost,unknown" doc:"whether who made it may still make tokens of the tenant"`
	Created time.Time `json:"created,omitzero"`
	Expires time.Time `json:"expires,omitzero" doc:"absent: never"`
	Expired bool      `json:"expired,omitempty"`
	// Used is when it was used last, to the hour.
	Used time.Time `json:"used,omitzero" doc:"when it was used last, to the hour; absent: never"`
}

// The values of Token.Maker.
const (
	MakerHolds   = "holds"
	MakerLost    = "lost"
	MakerUnknown = "unknown"
)

// Tokens are service tokens, sorted by tenant and name.
type Tokens struct {
	Tokens []Token `json:"tokens"`
}

// NewToken is a token that was just made.
type NewToken struct {
	Token
	// Secret is the token itself. It is told this once.
	Secret string `json:"secret"`
}

// RevokedToken tells which token opens nothing any more.
type RevokedToken struct {
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
}

// GrantedZones are the zones in which names are granted to a tenant, sorted.
type GrantedZones struct {
	Zones []GrantedZone `json:"zones"`
}

// GrantedZone is a zone of the platform, and what of it is a tenant's.
type GrantedZone struct {
	Zone string `json:"zone"`
	// Names are those at and below which services of the tenant may stand.
	Names []string `json:"names" doc:"at and below them services of the tenant may stand"`
}
