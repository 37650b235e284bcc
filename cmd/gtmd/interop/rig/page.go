//go:build interop

package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/control/api"
)

// web is how the rig asks its nodes: without connections that stay, since nodes come and go.
var web = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// Page fetches a page of a node's; anything but success is an error.
func (r *Rig) Page(n *Node, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return r.request(ctx, n, http.MethodGet, path, nil)
}

// API does a request below /v1/ at a control, and decodes the reply into out (nil: ignored). An error that the API tells
// is an *api.Problem. It may be called by several goroutines.
func (r *Rig) API(ctx context.Context, control *Node, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	reply, err := r.request(ctx, control, method, api.Version+path, body)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(reply, out)
}

func (r *Rig) request(ctx context.Context, n *Node, method, path string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, r.URL(n)+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(path, api.Version) {
		token, err := os.ReadFile(r.Token(n))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := web.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	if response.StatusCode < 300 {
		return data, nil
	}
	problem := &api.Problem{}
	if json.Unmarshal(data, problem) == nil && problem.Status != 0 {
		return nil, problem
	}
	return nil, fmt.Errorf("%s of %s says %s: %s", path, n.Name, response.Status, data)
}

// Status is what the edge says of itself.
func (r *Rig) Status(edge *Node) (api.EdgeStatus, error) {
	var status api.EdgeStatus
	data, err := r.Page(edge, "/edge/status")
	if err != nil {
		return status, err
	}
	return status, json.Unmarshal(data, &status)
}
