package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

// Filter says which resources are meant; the zero value: all that the caller sees.
type Filter struct {
	Tenant string
	Kind   spec.Kind
	Prefix string // of names
	Page   int    // how many are asked for at once; 0: 1,000
}

// Resources lists resources by tenant, kind and name, a page at a time. It ends behind an error. What changes while it is read may be
// missing or be there twice in different forms; each page by itself is of one moment.
func (c *Client) Resources(ctx context.Context, f Filter) iter.Seq2[api.Resource, error] {
	query := url.Values{"limit": {"1000"}}
	if f.Page > 0 {
		query.Set("limit", strconv.Itoa(f.Page))
	}
	for name, value := range map[string]string{"tenant": f.Tenant, "kind": string(f.Kind), "prefix": f.Prefix} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return func(yield func(api.Resource, error) bool) {
		for {
			var page api.ResourceList
			if err := c.Do(ctx, http.MethodGet, "resources", query, nil, &page); err != nil {
				yield(api.Resource{}, err)
				return
			}
			for _, r := range page.Resources {
				if !yield(r, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			query.Set("after", page.Next)
		}
	}
}

// Resource gives one.
func (c *Client) Resource(ctx context.Context, key spec.Key) (r api.Resource, err error) {
	return r, c.Do(ctx, http.MethodGet, pathOf(key), nil, nil, &r)
}

// Apply creates, updates and deletes resources, all or nothing; with DryRun it is a plan. A key that is unique has it made once, although
// it is sent again; empty: none.
func (c *Client) Apply(ctx context.Context, in api.ApplyRequest, key string) (out api.ApplyReply, err error) {
	header := http.Header{}
	if key != "" {
		header.Set("Idempotency-Key", key)
	}
	return out, c.Ask(ctx, http.MethodPost, c.base.JoinPath(api.Version, "apply"), nil, header, in, &out)
}

// Delete deletes a resource; with a generation only what that wrote, 0: whatever is there.
func (c *Client) Delete(ctx context.Context, key spec.Key, generation uint64, message string) (out api.ApplyReply, err error) {
	header := http.Header{}
	if generation != 0 {
		header.Set("If-Match", fmt.Sprintf("\"%s@%d\"", key.Tenant, generation))
	}
	query := url.Values{}
	if message != "" {
		query.Set("message", message)
	}
	return out, c.Ask(ctx, http.MethodDelete, c.base.JoinPath(api.Version, pathOf(key)), query, header, nil, &out)
}

// History gives what was changed of a tenant, newest first.
func (c *Client) History(ctx context.Context, tenant string, limit int) (out api.History, err error) {
	return out, c.Do(ctx, http.MethodGet, "history/"+url.PathEscape(tenant), url.Values{"limit": {strconv.Itoa(limit)}}, nil, &out)
}

// Status gives how control, its store and its edges are.
func (c *Client) Status(ctx context.Context) (out api.Status, err error) {
	return out, c.Do(ctx, http.MethodGet, "status", nil, nil, &out)
}

// pathOf is where a resource stands, below the API's version.
func pathOf(key spec.Key) string {
	return "resources/" + url.PathEscape(key.Tenant) + "/" + url.PathEscape(string(key.Kind)) + "/" + Segment(key.Name)
}

// Segment writes a name as one segment of a path. A path of dots alone would lead elsewhere.
func Segment(name string) string {
	if strings.Trim(name, ".") == "" {
		return strings.ReplaceAll(name, ".", "%2E")
	}
	return url.PathEscape(name)
}
