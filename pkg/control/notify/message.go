package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

// slackLines is how many events a message to people tells; of the rest it tells how many they are.
const slackLines = 20

// msg is what is posted.
type msg struct {
	id   string
	path string // below the target's URL
	body []byte
}

// body is what the format json says.
type body struct {
	Version int         `json:"version"`
	Tenant  string      `json:"tenant"`
	Target  string      `json:"target"`
	Events  []api.Event `json:"events"`
	// Dropped are events before these that the target was not told, since it took none for too long.
	Dropped uint64 `json:"dropped,omitempty"`
}

// message writes events in a format. Its ID is the same for the same events.
func message(format, tenant, name string, list []api.Event, lost uint64) msg {
	sum := sha256.New()
	for i := range list {
		fmt.Fprintln(sum, list[i].ID)
	}
	m := msg{id: hex.EncodeToString(sum.Sum(nil)[:12])}
	var v any = body{Version: 1, Tenant: tenant, Target: name, Events: list, Dropped: lost}
	if format == spec.FormatSlack {
		v = map[string]string{"text": slackText(list, lost)}
	}
	m.body, _ = json.Marshal(v) // times are of this era: see events.appendLine
	return m
}

// slackText writes events for people, one a line.
func slackText(list []api.Event, lost uint64) string {
	var lines []string
	if lost > 0 {
		lines = append(lines, fmt.Sprintf("%d events before these were dropped", lost))
	}
	for i := range list {
		if i == slackLines {
			lines = append(lines, fmt.Sprintf("and %d more: gtmctl events", len(list)-slackLines))
			break
		}
		e := &list[i]
		sign := ":white_check_mark:"
		if e.Bad() || e.Kind == api.EventChange {
			sign = ":red_circle:"
		}
		line := fmt.Sprintf("%s %s *%s*: %s → %s", sign, e.Kind, slackEscape(e.Of()), slackEscape(e.From), slackEscape(e.To))
		if e.Reason != "" {
			line += ": " + slackEscape(e.Reason)
		}
		lines = append(lines, line+" ("+e.Time.UTC().Format(time.RFC3339)+")")
	}
	return strings.Join(lines, "\n")
}

// slackEscape keeps what others wrote from being markup: links, mentions, bold.
var slackEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "*", "∗", "`", "ˋ", "_", "_\u200b", "~", "∼").Replace

// sign signs a body as Standard Webhooks say: HMAC-SHA256 of the message's ID, the time and the body. A key is base64 behind whsec_, or
// the bytes as they are.
func sign(key, id string, at time.Time, body []byte) (signature string, err error) {
	secret := []byte(key)
	if text, is := strings.CutPrefix(key, "whsec_"); is {
		if secret, err = base64.StdEncoding.DecodeString(text); err != nil {
			return "", fmt.Errorf("the secret begins with whsec_, and what follows is not base64")
		}
	}
	if len(secret) < 16 {
		return "", fmt.Errorf("the secret has fewer than 16 bytes")
	}
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%s.", id, strconv.FormatInt(at.Unix(), 10))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}
