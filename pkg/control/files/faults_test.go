package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A fault of form in one document hid what was wrong with the meaning of all others, and a broken one all that stood behind it.
func TestFaultsOfOneDocumentHideNoOthers(t *testing.T) {
	dir := write(t, map[string]string{
		"a.yaml": "%YAML 1.1\n# of one\n---\nkind: Pool\ntenant: shop\nname: eu\nspec: {endpoint: []}\n" +
			"---\nkind: Pool\ntenant: shop\nname: us\nspec: {endpoints: []}\n" +
			"---\nkind: [\n---\nkind: Pool\ntenant: shop\nname: ap\nspec: {endpoints: [{name: a, addresses: [x]}]}\n" +
			"--- # more\nkind: Site\ntenant: shop\nname: fra\nspec:\n  region: XX\n",
		"b.yaml": "kind: Pool\ntenant: shop\nname: b_\nspec: {endpoints: [{name: a, addresses: [192.0.2.1]}]}\n",
		"c.yaml": "kind: Zone\ntenant: platform\nname: c.\nspec:\n  nameservers: [ns.x.]\n  contact: a.b\n" +
			"  content: |\n    a A 1\n    b A 192.0.2.1\n    c A 1\n",
		"d.yaml": "kind: Zone\ntenant: platform\nname: d.\nspec: {nameservers: [ns.x.], contact: a.b, content: \"@ A 192.0.2.1\\nb A " +
			"1\\n\"}\n",
	})
	_, err := Load([]string{dir}, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"a.yaml:7: shop/Pool/eu: spec.endpoint: unknown field", "a.yaml:12: shop/Pool/us: spec.endpoints: wants 1 to",
		"a.yaml:14: not valid YAML: ",
		"a.yaml:19: shop/Pool/ap: spec.endpoints[0].addresses[0]: wants an IP address",
		"a.yaml:22: shop/Site/fra: tenant: a Site belongs to", "a.yaml:25: shop/Site/fra: spec.region: ",
		`b.yaml:3: shop/Pool/b_: name: "b_" has the letter '_'`,
		"c.yaml:8: platform/Zone/c.: spec.content: bad A A", "c.yaml:10: platform/Zone/c.: spec.content: bad A A",
		"d.yaml:4: platform/Zone/d.: spec.content: line 2 of the text: bad A A",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no fault has %q in\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "shop/Pool/eu: spec.endpoints") {
		t.Errorf("a document that was not read whole was checked:\n%v", err)
	}
}

// file: could name any file of the machine, and faults told what stands in it.
func TestMasterFilesStayInTheFolder(t *testing.T) {
	for name, file := range map[string]string{"above": "../secret", "by a link": "link", "absolute": "/etc/hostname",
		"from below": "sub/../../secret", "a folder": "sub", "by a linked folder": "up/secret"} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, map[string]string{"z/b.yml": strings.Replace(zoneYAML, "sub/example.zone", file, 1), "z/sub/x": "",
				"secret": "s3cr3t 1 IN A x\n"})
			for link, to := range map[string]string{"z/link": "../secret", "z/up": ".."} {
				if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Load([]string{filepath.Join(dir, "z", "b.yml")}, nil)
			if err == nil || !strings.Contains(err.Error(), "b.yml:5: platform/Zone/example.: spec.file: \""+file+"\"") ||
				strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What is no declaration, or no master file, was quoted: a token, say, to which a link leads.
func TestFaultsDoNotTellSecrets(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": "s3cr3t-token\n", "b.yaml": strings.Replace(zoneYAML, "sub/example.zone", "token", 1),
		"token":  "s3cr3t-token\n",
		"c.yaml": "kind: Zone\ntenant: platform\nname: c.\nspec:\n  file: c.zone\n", "c.zone": master + "$INCLUDE token\n"})
	_, err := Load([]string{dir}, nil)
	if err == nil || strings.Contains(err.Error(), "s3cr3t") {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"a.yaml:1: wants a resource with kind, tenant, name and spec, not a text",
		"token:1: platform/Zone/example.: ", "token:1: platform/Zone/c.: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no fault has %q in\n%v", want, err)
		}
	}
}
