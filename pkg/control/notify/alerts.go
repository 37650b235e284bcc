package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/events"
)

const (
	alertsPath  = "/api/v2/alerts"
	alertsOfOne = 500  // of one post
	mostAlerts  = 5000 // of a target; of others it says how many they are
	lasts       = 4    // times Pace.Repeat, and an alert that nobody repeats is over
)

// alert is one of Alertmanager's API.
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
	StartsAt    time.Time         `json:"startsAt,omitzero"`
	EndsAt      time.Time         `json:"endsAt,omitzero"`
}

// alertNames are those of the alerts, and how bad they are.
var alertNames = map[string][2]string{
	api.EventEndpoint: {"GtmEndpointDown", "warning"},
	api.EventPool:     {"GtmPoolDown", "critical"},
	api.EventBrake:    {"GtmBrakeHolds", "critical"},
	api.EventJudge:    {"GtmHealthStandsStill", "critical"},
	api.EventRollout:  {"GtmRolloutStopped", "critical"},
	api.EventEdge:     {"GtmGenerationRefused", "critical"},
}

func alertOf(e *api.Event, until time.Time) alert {
	name := alertNames[e.Kind]
	a := alert{Labels: map[string]string{"alertname": name[0], "severity": name[1], "tenant": e.Tenant}, EndsAt: until,
		Annotations: map[string]string{"summary": fmt.Sprintf("%s: %s", e.Of(), e.To)}}
	if a.StartsAt = e.Time; a.StartsAt.After(until) { // the judge's clock is ahead
		a.StartsAt = until
	}
	if e.Pool != "" {
		a.Labels["pool"] = e.Pool
	}
	if e.Endpoint != "" {
		a.Labels["endpoint"] = e.Endpoint
	}
	if e.Edge != "" {
		a.Labels["edge"] = e.Edge
	}
	if e.Region != "" {
		a.Labels["region"] = e.Region
	}
	if e.Reason != "" {
		a.Annotations["description"] = e.Reason
	}
	return a
}

// runAlerts tells an Alertmanager what is wrong, when that changes and again and again, and what is wrong no more.
func (g *target) runAlerts(ctx context.Context) {
	firing := map[events.Subject]api.Event{} // that it was told
	wait := time.Duration(0)
	for ctx.Err() == nil {
		changed := g.t.cfg.Log.Changed()
		now := g.t.cfg.Now()
		list, left := g.problems()
		alerts, fired := alertsFor(list, left, firing, now, now.Add(lasts*g.t.pace.Repeat))
		err := g.postAlerts(ctx, alerts)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			g.well()
			g.told(firing, fired)
			firing, wait = fired, 0
			again := time.NewTimer(g.t.pace.Repeat)
			select {
			case <-changed:
			case <-again.C:
			case <-ctx.Done():
			}
			again.Stop()
			sleep(ctx, g.t.pace.First/10) // what comes at once goes at once
			continue
		}
		g.ill(err)
		for of := range fired { // what was told in part may be known there
			firing[of] = fired[of]
		}
		wait = min(max(2*wait, g.t.pace.First), g.t.pace.Repeat)
		sleep(ctx, max(jitter(wait), min(retryAfter(err), g.t.pace.Most)))
	}
}

// problems gives what is wrong that the target wants to hear of, and how much more there is.
func (g *target) problems() (list []api.Event, left int) {
	for _, e := range g.t.cfg.Problems(scopeOf(g.tenant)) {
		if !g.wants(&e) {
			continue
		}
		if len(list) == mostAlerts {
			left++
			continue
		}
		list = append(list, e)
	}
	return list, left
}

// alertsFor gives the alerts of what is wrong, and of what was and is no more; fired is what fires then.
func alertsFor(list []api.Event, left int, before map[events.Subject]api.Event, now, until time.Time) (alerts []alert,
	fired map[events.Subject]api.Event) {
	fired = map[events.Subject]api.Event{}
	for i := range list {
		e := &list[i]
		fired[events.SubjectOf(e)] = *e
		alerts = append(alerts, alertOf(e, until))
	}
	if left > 0 {
		alerts = append(alerts, alert{Labels: map[string]string{"alertname": "GtmAlertsLeftOut", "severity": "warning"}, EndsAt: until,
			Annotations: map[string]string{"summary": fmt.Sprintf("%d more are wrong than are told here: gtmctl status", left)}})
	}
	for of, e := range before {
		if _, still := fired[of]; !still {
			over := alertOf(&e, now)
			alerts = append(alerts, over)
		}
	}
	return alerts, fired
}

func (g *target) postAlerts(ctx context.Context, alerts []alert) error {
	for len(alerts) > 0 {
		n := min(len(alerts), alertsOfOne)
		body, err := json.Marshal(alerts[:n])
		if err != nil {
			return err
		}
		if err := g.send(ctx, msg{path: alertsPath, body: body}); err != nil {
			return err
		}
		alerts = alerts[n:]
	}
	return nil
}

// told counts what began and what ended. Nobody goes on there: what is wrong is told as a whole.
func (g *target) told(before, now map[events.Subject]api.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for of := range now {
		if _, was := before[of]; !was {
			g.sent++
		}
	}
	for of := range before {
		if _, is := now[of]; !is {
			g.sent++
		}
	}
}
