package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Bounds of an answer of Prometheus.
const (
	queryTime = 5 * time.Second
	queryMost = 1 << 20
)

// queryPrometheus asks a Prometheus server for the value of a query: the largest one, where it has several. None is an error: silence is
// no success.
func queryPrometheus(ctx context.Context, server, query string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	at, err := url.JoinPath(server, "api/v1/query")
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at+"?"+url.Values{"query": {query}}.Encode(), nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, queryMost))
	if err != nil {
		return 0, err
	}
	return parseAnswer(body)
}

// parseAnswer reads what Prometheus answers: a scalar, or a vector of samples.
func parseAnswer(body []byte) (float64, error) {
	var out struct {
		Status, Error string
		Data          struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return 0, fmt.Errorf("it is not understood: %w", err)
	}
	if out.Status != "success" {
		return 0, fmt.Errorf("it says: %.200s", out.Error)
	}
	type point [2]any
	var points []point
	switch out.Data.ResultType {
	case "scalar":
		points = make([]point, 1)
		if err := json.Unmarshal(out.Data.Result, &points[0]); err != nil {
			return 0, err
		}
	case "vector":
		var samples []struct{ Value point }
		if err := json.Unmarshal(out.Data.Result, &samples); err != nil {
			return 0, err
		}
		for _, s := range samples {
			points = append(points, s.Value)
		}
	}
	largest, err := 0.0, errors.New("the query has no value")
	for i, p := range points {
		text, _ := p[1].(string)
		v, bad := strconv.ParseFloat(text, 64)
		if bad != nil || v != v {
			return 0, fmt.Errorf("%.40q is no value", text)
		}
		if err = nil; i == 0 || v > largest {
			largest = v
		}
	}
	return largest, err
}
