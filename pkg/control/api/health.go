package api

// ReleaseRequest says that what the brake holds has really failed.
type ReleaseRequest struct {
	// Pool is absent where all of the tenant is meant.
	Pool   string `json:"pool,omitempty" maxLength:"255"`
	Reason string `json:"reason" maxLength:"4096" doc:"why; the judge's log shows it"`
}

// ResumeRequest says that a pool which failed may answer again.
type ResumeRequest struct {
	Reason string `json:"reason" maxLength:"4096" doc:"why; the judge's log shows it"`
}

// Resumed tells what came of a ResumeRequest.
type Resumed struct {
	// Out is how the pool was kept out when it was asked; absent: it was not, and there was nothing to do.
	Out *PoolOut `json:"out,omitempty"`
	// Up and Why are what is known of the pool now.
	Up  bool   `json:"up"`
	Why string `json:"why,omitempty"`
}

// Released tells what came of a ReleaseRequest. Endpoints are named as in shop/eu/a.
type Released struct {
	// Held are those that the brake held when it was asked; none: there was nothing to do.
	Held []string `json:"held"`
	// Down are those of them that went down. The rest has recovered.
	Down []string `json:"down"`
}
