package seal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

var services = []contract.Service{contract.TOTP, contract.SMSDispatcher}

func keys(t *testing.T, dir string) (totp, sms *Keys) {
	t.Helper()
	paths, err := Generate(dir, services)
	if err != nil {
		t.Fatal(err)
	}
	if totp, err = Load(paths[contract.TOTP]); err != nil {
		t.Fatal(err)
	}
	if sms, err = Load(paths[contract.SMSDispatcher]); err != nil {
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

func TestLoadRefusesByName(t *testing.T) {
	dir := t.TempDir()
	keys(t, dir)
	good, err := os.ReadFile(filepath.Join(dir, "totp-svc.json"))
	if err != nil {
		t.Fatal(err)
	}
	weak := strings.Replace(string(good), "AesGcmKey", "HmacKey", 1)
	short := `{"store":{"primaryKeyId":1,"key":[{"keyData":{"typeUrl":"type.googleapis.com/google.crypto.tink.AesGcmKey","value":"GhAAAAAAAAAAAAAAAAAAAAAA","keyMaterialType":"SYMMETRIC"},"status":"ENABLED","keyId":1,"outputPrefixType":"TINK"}]}}`
	zero := `{"store":{"primaryKeyId":1,"key":[{"keyData":{"typeUrl":"type.googleapis.com/google.crypto.tink.AesGcmKey","value":"GiAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==","keyMaterialType":"SYMMETRIC"},"status":"ENABLED","keyId":1,"outputPrefixType":"TINK"}]}}`
	for name, c := range map[string]struct {
		body string
		mode os.FileMode
		want string
	}{
		"readable by all": {string(good), 0o644, "everybody may read"},
		"garbage":         {"hello", 0o600, "not a key file"},
		"empty":           {"{}", 0o600, "missing keyset"},
		"weak type":       {weak, 0o600, "not a 256-bit AEAD key"},
		"short":           {short, 0o600, "256 bits"},
		"zero":            {zero, 0o600, "not random"},
	} {
		path := filepath.Join(dir, "k")
		if err := os.WriteFile(path, []byte(c.body), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q and the path", name, err, c.want)
		}
	}
	for _, path := range []string{"", filepath.Join(dir, "missing")} {
		if _, err := Load(path); err == nil {
			t.Errorf("%q loaded", path)
		}
	}
}
