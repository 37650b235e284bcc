package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

// maxDetail bounds what a problem says beside its list of issues, in bytes.
const maxDetail = 16 << 10

func problemf(status int, format string, args ...any) *api.Problem {
	detail := fmt.Sprintf(format, args...)
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "") + "..."
	}
	return &api.Problem{Title: http.StatusText(status), Status: status, Detail: detail}
}

// writeProblem answers outside of huma, where a request does not get that far.
func writeProblem(w http.ResponseWriter, p *api.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone; nobody is left to tell
}

// problemOf turns an error from below into what the client gets. Errors that nobody foresaw are told as they are: whoever may
// ask here may know.
func problemOf(err error) error {
	var problem *api.Problem
	var faults spec.Errors
	var unknown *store.UnknownError
	var changed *change.ChangedError
	var refused *change.RefusedError
	var many *change.TooManyError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &problem):
		return problem
	case errors.As(err, &changed):
		p := problemf(http.StatusConflict, "%s changed meanwhile; %s", count(len(changed.Resources), "resource"), done(err))
		p.Errors = api.Issues(changed.Faults())
		return p
	case errors.As(err, &refused):
		p := problemf(http.StatusConflict, "%s; %s", refusedBy(refused), done(err))
		p.Errors = api.Issues(refused.Faults())
		return p
	case errors.As(err, &faults):
		p := problemf(http.StatusUnprocessableEntity, "%s; %s", countFaults(faults), done(err))
		p.Errors = api.Issues(faults)
		return p
	case errors.As(err, &many):
		return huma.ErrorWithHeaders(problemf(http.StatusTooManyRequests, "%s; nothing was changed", err),
			http.Header{"Retry-After": {strconv.Itoa(wholeSeconds(many.Wait))}})
	case changeProblem(err) != 0:
		return problemf(changeProblem(err), "%s", err)
	case errors.Is(err, store.ErrNotFound):
		return problemf(http.StatusNotFound, "%s", err)
	case errors.As(err, &unknown):
		return problemf(http.StatusGatewayTimeout, "%s", err) // with what to do before another attempt
	case errors.Is(err, context.DeadlineExceeded):
		return problemf(http.StatusGatewayTimeout, "%s; is etcd well? gtmctl status tells", err)
	}
	return problemf(http.StatusServiceUnavailable, "%s", err)
}

// done tells what was made before an error.
func done(err error) string {
	var partly *change.PartlyError
	if !errors.As(err, &partly) {
		return "nothing was changed"
	}
	states := make([]string, len(partly.Done))
	for i, r := range partly.Done {
		states[i] = fmt.Sprintf("%s@%d", r.Tenant, r.Generation)
	}
	return strings.Join(states, ", ") + " was made, but not the rest"
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// countFaults says so where a list may have been cut.
func countFaults(faults spec.Errors) string {
	if faults.Full() {
		return fmt.Sprintf("%d faults, and maybe more", spec.MaxErrors)
	}
	return count(len(faults), "fault")
}

// ownProblems gives what huma finds wrong with a request the form of our problems; it would echo the values, which can be large.
func ownProblems(_ huma.Context, _ string, body any) (any, error) {
	model, ok := body.(*huma.ErrorModel)
	if !ok {
		return body, nil
	}
	p := problemf(model.Status, "%s", model.Detail)
	var some spec.Errors // which bounds them
	for _, e := range model.Errors {
		if e != nil {
			some.Add(&spec.Error{Field: e.Location, Msg: e.Message})
		}
	}
	for _, e := range some {
		p.Errors = append(p.Errors, api.Issue{Location: e.Field, Message: e.Msg})
	}
	return p, nil
}

// refusedBy tells which guards refuse a change.
func refusedBy(e *change.RefusedError) string {
	var names []string
	for i := range e.Refusals {
		if name := e.Refusals[i].Guard.String(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if e.Waits {
		return strings.Join(names, ", ") + " wants a second person for this"
	}
	return strings.Join(names, ", ") + " refuses this"
}
