package seal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

var services = []contract.Service{contract.TOTP, contract.SMSDispatcher}

func keys(t *testing.T, dir string) (totp, sms *Keys) {
	t.Helper()
	paths, err := Generate(dir, services, false)
	if err != nil {
		t.Fatal(err)
	}
	if totp, err = Load(paths[contract.TOTP], contract.TOTP); err != nil {
		t.Fatal(err)
	}
	if sms, err = Load(paths[contract.SMSDispatcher], contract.SMSDispatcher); err != nil {
		t.Fatal(err)
	}
	return totp, sms
}

func TestASealedValueOpensOnlyInItsPlace(t *testing.T) {
	totp, sms := keys(t, t.TempDir())
	place := Place{"portal", "authenticators", "seed", "u1", "en1"}
	sealed, err := totp.Store.Seal([]byte("seed"), place)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := totp.Store.Open(sealed, place); err != nil || string(got) != "seed" {
		t.Fatalf("opens as %q, %v", got, err)
	}
	for name, elsewhere := range map[string]Place{
		"another user": {"portal", "authenticators", "seed", "u2", "en1"},
		"shifted":      {"portal", "authenticators", "seed", "u1e", "n1"},
		"fewer parts":  {"portal", "authenticators", "seed", "u1"},
		"none":         nil,
	} {
		if _, err := totp.Store.Open(sealed, elsewhere); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: opened, %v", name, err)
		}
	}
	if _, err := sms.Store.Open(sealed, place); !errors.Is(err, ErrOpen) {
		t.Errorf("another service's store key opened it: %v", err)
	}
	sealed[len(sealed)-1] ^= 1
	if _, err := totp.Store.Open(sealed, place); !errors.Is(err, ErrOpen) {
		t.Errorf("a changed value opened: %v", err)
	}
}

func TestAHashNeedsTheKeyAndThePlace(t *testing.T) {
	dir := t.TempDir()
	totp, sms := keys(t, dir)
	_, again := keys(t, dir)
	value, place := []byte("+17015559443"), Place{"portal", "meters"}
	name := string(sms.Store.Hash(value, place))
	if string(again.Store.Hash(value, place)) != name {
		t.Error("another process with the same key has another name for it")
	}
	for what, other := range map[string][]byte{
		"another key":   totp.Store.Hash(value, place),
		"another place": sms.Store.Hash(value, Place{"portal", "phones"}),
		"another value": sms.Store.Hash([]byte("+17015559444"), place),
		"shifted":       sms.Store.Hash([]byte("rs+17015559443"), Place{"portal", "mete"}),
	} {
		if len(other) != 32 || string(other) == name {
			t.Errorf("%s: %x", what, other)
		}
	}
}

func TestServicesShareTheBusKey(t *testing.T) {
	totp, sms := keys(t, t.TempDir())
	who := contract.Account{Portal: "p", User: "u"}
	f, err := totp.Bus.SealField(secret.New("123456"), contract.PurposeTypedCode, who)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := sms.Bus.OpenField(f, contract.PurposeTypedCode, who); err != nil || got.Reveal() != "123456" {
		t.Fatalf("the other service opens it as %q, %v", got.Reveal(), err)
	}
	for name, open := range map[string]func() error{
		"another purpose": func() error { _, err := sms.Bus.OpenField(f, contract.PurposeSeed, who); return err },
		"another user": func() error {
			_, err := sms.Bus.OpenField(f, contract.PurposeTypedCode, contract.Account{Portal: "p", User: "v"})
			return err
		},
		"not base64": func() error { _, err := sms.Bus.OpenField("%", contract.PurposeTypedCode, who); return err },
	} {
		if err := open(); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGenerateKeepsWhatThereIs(t *testing.T) {
	dir := t.TempDir()
	first, _ := keys(t, dir)
	again, _ := keys(t, dir)
	if first.Store.PrimaryKeyID() != again.Store.PrimaryKeyID() {
		t.Fatal("the store key was replaced")
	}
	info, err := os.Stat(filepath.Join(dir, "totp-svc.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

// Every set of files that a killed start, a lost file or a mistaken copy can leave behind.
func TestGenerateMakesNoNewKeysOverData(t *testing.T) {
	all := []contract.Service{contract.AuthGateway, contract.TOTP, contract.Policy}
	for name, c := range map[string]struct {
		there   []contract.Service // files of an earlier set
		swapped bool               // the first of them holds the keys of another service
		hasData bool
		says    []string // none: the set is complete afterwards
		never   string
	}{
		"first start":                        {},
		"killed after the first file":        {there: all[:1]},
		"killed before the last file":        {there: all[:2]},
		"the first is missing, no data":      {there: all[1:]},
		"all there, no data yet":             {there: all},
		"all there, data":                    {there: all, hasData: true},
		"one lost":                           {there: all[:2], hasData: true, says: []string{"policy-svc.json is missing; without it", "restore it from a backup"}, never: "totp-svc"},
		"two lost":                           {there: all[1:2], hasData: true, says: []string{"auth-gateway.json is missing", "policy-svc.json is missing"}, never: "totp-svc"},
		"all lost":                           {hasData: true, says: []string{"holds no key files", "restore them from a backup"}},
		"a file of another service":          {there: all, swapped: true, hasData: true, says: []string{"belongs to totp-svc, not auth-gateway"}},
		"a file of another service, no data": {there: all[:1], swapped: true, says: []string{"belongs to totp-svc, not auth-gateway"}},
	} {
		t.Run(name, func(t *testing.T) {
			earlier, dir := t.TempDir(), filepath.Join(t.TempDir(), "keys")
			if _, err := Generate(earlier, all, false); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			before := make(map[string]string)
			for n, s := range c.there {
				from := s
				if c.swapped && n == 0 {
					from = contract.TOTP
				}
				raw, err := os.ReadFile(filepath.Join(earlier, string(from)+".json"))
				if err != nil {
					t.Fatal(err)
				}
				before[string(s)+".json"] = string(raw)
				if err := os.WriteFile(filepath.Join(dir, string(s)+".json"), raw, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			paths, err := Generate(dir, all, c.hasData)
			after := files(t, dir)
			for name, body := range before {
				if after[name] != body {
					t.Errorf("%s was changed", name)
				}
			}
			if len(c.says) > 0 {
				if err == nil {
					t.Fatal("it was not refused")
				}
				for _, s := range append(c.says, dir) {
					if !strings.Contains(err.Error(), s) {
						t.Errorf("it does not say %q: %v", s, err)
					}
				}
				if c.never != "" && strings.Contains(err.Error(), c.never) {
					t.Errorf("it names %s, which is there: %v", c.never, err)
				}
				if len(after) != len(before) {
					t.Errorf("refused, but there are %d files where there were %d", len(after), len(before))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(after) != len(all) {
				t.Errorf("%d files, want %d and nothing beside them", len(after), len(all))
			}
			var bus uint32
			stores := make(map[uint32]bool)
			for _, s := range all {
				k, err := Load(paths[s], s)
				if err != nil {
					t.Fatal(err)
				}
				if bus == 0 {
					bus = k.Bus.PrimaryKeyID()
				}
				if k.Bus.PrimaryKeyID() != bus {
					t.Errorf("%s has a bus key of its own", s)
				}
				stores[k.Store.PrimaryKeyID()] = true
			}
			if len(stores) != len(all) {
				t.Error("services share a store key")
			}
		})
	}
}

// Of two processes that make the same file, the second is refused.
func TestAKeyFileIsNeverReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "totp-svc.json")
	if err := writeNew(path, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := writeNew(path, []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want that it exists", err)
	}
	if got := files(t, dir); len(got) != 1 || got["totp-svc.json"] != "first" {
		t.Errorf("left behind: %v", got)
	}
}

// files are those of a directory, with what is in them.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(raw)
	}
	return out
}

func TestLoadRefusesByName(t *testing.T) {
	dir := t.TempDir()
	keys(t, dir)
	good, err := os.ReadFile(filepath.Join(dir, "totp-svc.json"))
	if err != nil {
		t.Fatal(err)
	}
	weak := strings.Replace(string(good), "AesGcmKey", "HmacKey", 1)
	other, err := os.ReadFile(filepath.Join(dir, "sms-dispatcher.json"))
	if err != nil {
		t.Fatal(err)
	}
	nameless := strings.Replace(string(good), `"service": "totp-svc",`, "", 1)
	// both is a key file whose two keysets hold such keys, and are good otherwise.
	both := func(values ...string) string {
		var all []string
		for _, value := range values {
			all = append(all, `{"keyData":{"typeUrl":"type.googleapis.com/google.crypto.tink.AesGcmKey","value":"`+value+`","keyMaterialType":"SYMMETRIC"},"status":"ENABLED","keyId":1,"outputPrefixType":"TINK"}`)
		}
		set := `{"primaryKeyId":1,"key":[` + strings.Join(all, ",") + `]}`
		return `{"service":"totp-svc","store":` + set + `,"bus":` + set + `}`
	}
	const (
		random = "GiCfV1lkpvLjnDX0S3Tk1v7nH1H0c3bqYb8m2uQe5oXwZA=="
		zeros  = "GiAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
		half   = "GhCfV1lkpvLjnDX0S3Tk1v7n"
	)
	for name, c := range map[string]struct {
		body string
		mode os.FileMode
		want string
	}{
		"readable by all": {string(good), 0o644, "everybody may read"},
		"garbage":         {"hello", 0o600, "not a key file"},
		"empty":           {"{}", 0o600, "names no service"},
		"no keys":         {`{"service":"totp-svc"}`, 0o600, "missing keyset"},
		"another service": {string(other), 0o600, "belongs to sms-dispatcher, not totp-svc"},
		"no service":      {nameless, 0o600, "names no service"},
		"weak type":       {weak, 0o600, "not a 256-bit AEAD key"},
		"short":           {both(half), 0o600, "256 bits"},
		"zero":            {both(zeros), 0o600, "not random"},
		"disabled":        {strings.Replace(string(good), `"ENABLED"`, `"DISABLED"`, 1), 0o600, "is not enabled"},
		"no such primary": {regexp.MustCompile(`"primaryKeyId": *\d+`).ReplaceAllString(string(good), `"primaryKeyId": 7`), 0o600, "key 7 is to seal, but it is not there"},
		"no ids":          {strings.Replace(string(good), `"TINK"`, `"RAW"`, 1), 0o600, "does not put its id"},
		"two of one id":   {both(random, random), 0o600, "there are two keys 1"},
		"bad name of KMS": {strings.Replace(string(good), `"service": "totp-svc",`, `"service": "totp-svc", "kms": "alias/x",`, 1), 0o600, "names no key of AWS KMS"},
	} {
		path := filepath.Join(dir, "k")
		if err := os.WriteFile(path, []byte(c.body), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, contract.TOTP); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q and the path", name, err, c.want)
		}
	}
	for _, path := range []string{"", filepath.Join(dir, "missing")} {
		if _, err := Load(path, contract.TOTP); err == nil {
			t.Errorf("%q loaded", path)
		}
	}
	one := filepath.Join(dir, "one")
	if err := os.WriteFile(one, []byte(both(random)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(one, contract.TOTP); err != nil {
		t.Errorf("a good key: %v", err)
	}
}
