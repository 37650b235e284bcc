package api

// ReleaseRequest says that what the brake holds has really failed.
type ReleaseRequest struct {
	// Pool is absent where all of the tenant is meant.
	Pool   string `json:"pool,omitempty" maxLength:"255"`
	Reason string `json:"reason" maxLength:"4096" doc:"why; the judge's log shows it"`
}

// Released tells what came of a ReleaseRequest. Endpoints are named as in shop/eu/a.
type Released struct {
	// Held are those that the brake held when it was asked; none: there was nothing to do.
	Held []string `json:"held"`
	// Down are those of them that went down. The rest has recovered.
	Down []string `json:"down"`
}
