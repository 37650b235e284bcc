// Package store keeps gtm's shared state in etcd: it reads it at a revision, follows it from the next, and changes it in single
// transactions. What the state is stands in package state, how it is kept on disk in package snapshot.
//
// # Configuration
//
// A change belongs to a tenant and makes that tenant's next generation: immutable versions of the
// resources that it touches (a deletion is a version too), a record of who changed what, and a new head,
// in one transaction. The state of a tenant at a generation is, of each resource, the newest version that
// is not newer than the generation. etcd's revision is only a cursor.
//
// # Keys
//
// All keys stand below a prefix, "/gtm/" by default. Components are path-escaped, <gen> is a generation
// as 16 hexadecimal digits, so that keys sort as numbers do.
//
//	config/epoch                              {"epoch":N,"author":...,"time":...}: see Client.Accept
//	config/head/<tenant>                      the tenant's head, in decimal
//	config/keys/<zone>                        dnssec.Keyset (JSON): a signed zone's keys, written by control
//	config/log/<tenant>/<gen>                 Record of the change that made the generation (JSON)
//	config/res/<tenant>/<kind>/<name>/<gen>   one version: {"resource":{...},"text":[...]} or {"deleted":true}
//	config/text/<sha256>                      a run of lines of zone content, addressed by its content
//	verdict/<tenant>/<pool>                   health.Verdict (JSON), written by the elected judge only
//	verdict/<tenant>/<pool>/<piece>           a piece of it (00 to 63) that is newer, of more than 64 endpoints: see package pieces
//	verdict/pulse                             Pulse (JSON), written by the elected judge every few seconds
//	world/edge/<id>                           Edge (JSON), leased
//	world/known/<id>                          Edge (JSON) and when it was written, without a lease: see Client.ForgetEdge
//	world/judge/<lease>                       candidates of the judge's election; the oldest one leads
//	world/obs/<vantage>/<tenant>/<pool>       health.Observation (JSON), without a lease; pieces below it, as of verdicts
//	world/release/<tenant>[/<pool>]           Release (JSON), leased: the judge follows it and takes it away
//	world/vantage/<id>                        leased: the prober is alive
//
// What edges follow, config/, verdict/ and each other kind of state.Kinds, is one range of keys, so that one watch brings it in order and
// what probers tell each other stays away from them.
//
// # Zones
//
// The content of a zone is cut into runs of whole owner names, at names that their hash chooses, so that
// a changed name touches one run. A version of a zone lists the hashes of its runs; a run is written when
// it is new and never removed, since older generations refer to it. New content of more than a megabyte is written before the
// transaction that refers to it, in requests that any etcd takes; if that transaction fails, the runs wait for the next attempt.
//
// # Clusters
//
// An etcd that is not the embedded one should be of version 3.5.8 or later, and started with
// --max-txn-ops=8192 --max-request-bytes=33554432 and --auto-compaction-retention=10m; with its defaults, a generation
// holds some 120 resources and 1.5 MB, zone content apart. Versions and records are kept for ever.
//
// # Silence
//
// Loss of etcd is not an error of Follow but a status: it keeps trying, tells the consumer that what it
// has is stale, and goes on where it stopped. What it delivers never goes back by itself: a store that
// was restored to an older state is refused until Client.Accept, also when its numbers have caught up, since each generation has an ID
// (see Record) that is compared.
//
// # Damage
//
// A value that is not understood costs its own tenant, pool, zone or resource, and whoever holds an earlier form keeps it. A head that
// is damaged counts as what the tenant's log says, and is mended by the tenant's next change.
package store
