package spec

import (
	"strings"
	"testing"
)

func TestEventTargetsAreCheckedStrictly(t *testing.T) {
	target := func(fields string) string { return "{events: {targets: [{name: chat, " + fields + "}]}}" }
	url := "url: 'https://hooks.example.net/gtm'"
	for _, tc := range []struct{ tenant, body, says string }{
		{"shop", "{events: {metrics: true}}", ""},
		{"shop", target(url), ""},
		{"shop", target("format: slack, url: {file: chat-url}, headers: {X-Key: {file: key}, X-From: gtm}, sign: hook.key, " +
			"kinds: [pool, brake], pools: [eu]"), ""},
		{"platform", target("format: alertmanager, url: 'http://127.0.0.1:9093', pools: [shop/eu]"), ""},
		{"shop", target("format: slak, " + url), `targets[0].format: "slak" is not possible; did you mean slack?`},
		{"shop", target("sign: x"), "spec.events.targets[0].url: is missing"},
		{"shop", target("url: {file: ../x}"), "spec.events.targets[0].url.file: wants the name of a file"},
		{"shop", target("url: {file: ''}"), "spec.events.targets[0].url: wants a text, or {file: NAME}"},
		{"shop", target("url: 'ftp://x.example/'"), "url: is not a URL as in https://hooks.example.net/gtm"},
		{"shop", target("url: 'https:///x'"), "url: is not a URL"},
		{"shop", target("url: 'https://u:p@x.example/'"), "url: names a user: write headers: {Authorization: {file: NAME}} instead"},
		{"shop", target("url: 'https://x.example/#a'"), "url: has a fragment"},
		{"shop", target("url: 'https://x.example/" + strings.Repeat("x", 2048) + "'"), "url: is 2066 bytes long"},
		{"shop", target(url + ", headers: {'a b': x}"), `targets[0].headers."a b": "a b" is not the name of a header`},
		{"shop", target(url + ", sign: a/b"), "targets[0].sign: wants the name of a file"},
		{"shop", target(url + ", kinds: [pools]"), `targets[0].kinds[0]: "pools" is not possible; did you mean pool?`},
		{"shop", target(url + ", pools: [shop/eu]"), `targets[0].pools[0]: "shop/eu" is not a pool as in eu, of this tenant`},
		{"platform", target(url + ", pools: [eu]"), `targets[0].pools[0]: "eu" is not a pool as in shop/eu`},
		{"shop", target(url + ", retries: 3"), "targets[0].retries: unknown field"},
		{"shop", "{events: {targets: [{name: a, " + url + "}, {name: a, " + url + "}]}}", "targets[1].name: a stands there twice"},
		{"shop", "{events: {targets: [" + strings.Repeat("{name: a, "+url+"}, ", 9) + "]}}", "has 9 entries: it can have at most 8"},
	} {
		got, err := Decode("f.yaml", []byte("kind: Tenant\ntenant: "+tc.tenant+"\nname: "+tc.tenant+"\nspec: "+tc.body+"\n"))
		if err == nil {
			err = Validate(got[0])
		}
		if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%s: %v, want %q", tc.body, err, tc.says)
		}
		if err != nil && strings.Contains(err.Error(), "u:p@") {
			t.Errorf("a secret is told: %v", err)
		}
	}
}

func TestATargetWantsWhatItAsksFor(t *testing.T) {
	all, some := &EventTarget{}, &EventTarget{Kinds: []string{"pool", "judge"}, Pools: []string{"eu"}}
	ofAll := &EventTarget{Pools: []string{"shop/eu"}}
	for _, tc := range []struct {
		t                    *EventTarget
		tenant, kind, of, in string
		want                 bool
	}{
		{all, "shop", "endpoint", "shop", "eu", true}, {some, "shop", "pool", "shop", "eu", true},
		{some, "shop", "endpoint", "shop", "eu", false}, {some, "shop", "pool", "shop", "us", false},
		{ofAll, Platform, "pool", "shop", "eu", true}, {ofAll, Platform, "pool", "other", "eu", false},
	} {
		if got := tc.t.Wants(tc.tenant, tc.kind, tc.of, tc.in); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}
