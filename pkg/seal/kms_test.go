package seal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/seal/kmstest"
)

// wrapped are the key files of three services, wrapped by a KMS that this process reaches.
func wrapped(t *testing.T) (*kmstest.KMS, string, map[contract.Service]string) {
	t.Helper()
	kms := kmstest.Start(t)
	for name, value := range kms.Env() {
		t.Setenv(name, value)
	}
	dir := t.TempDir()
	paths, err := seal.Generate(dir, []contract.Service{contract.TOTP, contract.Policy}, false)
	if err != nil {
		t.Fatal(err)
	}
	files := lock(t, dir, paths)
	for s := range paths {
		if err := files.Wrap(t.Context(), s, kmstest.URI); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	return kms, dir, paths
}

func lock(t *testing.T, dir string, paths map[contract.Service]string) *seal.Files {
	t.Helper()
	files, err := seal.LockFiles(t.Context(), dir, paths)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = files.Close() })
	return files
}

func load(t *testing.T, path string, s contract.Service) *seal.Keys {
	t.Helper()
	k, err := seal.Load(path, s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// B40: key files that AWS KMS has wrapped hold no key, open for their own service alone, and rotate as others do; KMS is
// asked at the start and for a new file, and never in between.
func TestB40KeysThatKMSWraps(t *testing.T) {
	kms, dir, paths := wrapped(t)
	for s, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), "keyData") || !strings.Contains(string(raw), "encryptedKeyset") {
			t.Errorf("%s is in clear: %s", s, raw)
		}
	}
	totp := load(t, paths[contract.TOTP], contract.TOTP)
	place := seal.Place{"portal", "here"}
	before, err := totp.Store.Seal([]byte("seed"), place)
	if err != nil {
		t.Fatal(err)
	}
	asked, contexts := kms.Asked()
	for i, what := range asked {
		if contexts[i]["service"] == "" || contexts[i]["keyset"] == "" {
			t.Errorf("%s without its place: %v", what, contexts[i])
		}
	}
	files := lock(t, dir, paths)
	if _, err := files.Add(t.Context(), seal.Store, contract.TOTP); err != nil {
		t.Fatal(err)
	}
	id, err := files.Use(t.Context(), seal.Store, contract.TOTP, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := totp.Reload(); err != nil || totp.Store.PrimaryKeyID() != id {
		t.Fatalf("seals with %d, %v; want %d", totp.Store.PrimaryKeyID(), err, id)
	}

	kms.Close()
	if opened, err := totp.Store.Open(before, place); err != nil || string(opened) != "seed" {
		t.Errorf("with KMS away it opens %q, %v", opened, err)
	}
	if err := totp.Reload(); err != nil {
		t.Errorf("with KMS away, an unchanged file: %v", err)
	}
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	_, err = seal.Load(paths[contract.TOTP], contract.TOTP)
	if !errors.Is(err, seal.ErrKMS) || !strings.Contains(err.Error(), "AWS KMS does not answer") || !strings.Contains(err.Error(), kmstest.Key) {
		t.Errorf("a start without KMS: %v", err)
	}
}

// A keyset that was wrapped for one service, or as one keyset, is not unwrapped as another.
func TestAWrappedKeysetOpensInItsPlaceOnly(t *testing.T) {
	_, dir, paths := wrapped(t)
	raw, err := os.ReadFile(paths[contract.Policy])
	if err != nil {
		t.Fatal(err)
	}
	stolen := filepath.Join(dir, "stolen.json")
	renamed := strings.Replace(string(raw), `"service": "policy-svc"`, `"service": "totp-svc"`, 1)
	swapped := strings.NewReplacer(`"store": {`, `"bus": {`, `"bus": {`, `"store": {`).Replace(string(raw))
	for s, body := range map[contract.Service]string{contract.TOTP: renamed, contract.Policy: swapped} {
		if err := os.WriteFile(stolen, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.Load(stolen, s); !errors.Is(err, seal.ErrKMS) || !strings.Contains(err.Error(), "InvalidCiphertextException") {
			t.Errorf("as %s: %v", s, err)
		}
	}
}

// A file that KMS does not open at the moment replaces nothing, and is tried again.
func TestAnOutageOfKMSKeepsTheKeysInMemory(t *testing.T) {
	_, dir, paths := wrapped(t)
	policy := load(t, paths[contract.Policy], contract.Policy)
	files := lock(t, dir, paths)
	if _, err := files.Add(t.Context(), seal.Store, contract.Policy); err != nil {
		t.Fatal(err)
	}
	there := os.Getenv("AWS_ENDPOINT_URL_KMS")
	for name, value := range kmstest.Away(t) {
		t.Setenv(name, value)
	}
	if err := policy.Reload(); !errors.Is(err, seal.ErrKMS) || policy.State().Refused == nil || len(policy.Store.KeyIDs()) != 1 {
		t.Fatalf("KMS away: %v", err)
	}
	t.Setenv("AWS_ENDPOINT_URL_KMS", there)
	if err := policy.Reload(); err != nil || policy.State().Refused != nil || len(policy.Store.KeyIDs()) != 2 {
		t.Fatalf("KMS back: %v", err)
	}
}

func TestCheckKMS(t *testing.T) {
	for uri, good := range map[string]bool{
		kmstest.URI: true, kmstest.Key: false, "aws-kms://alias/x": false, "": false, "aws-kms://arn:aws:sns:eu-central-1:1:x": false,
		"aws-kms://arn:aws:kms:eu-central-1:111122223333:alias/sallyport": true,
	} {
		if err := seal.CheckKMS(uri); (err == nil) != good {
			t.Errorf("%q: %v", uri, err)
		}
	}
}

// Check sees what Load would refuse, and asks KMS nothing: a file that it has wrapped is judged by its form.
func TestCheckAsksNobody(t *testing.T) {
	kms, dir, paths := wrapped(t)
	before, _ := kms.Asked()
	if err := seal.Check(paths[contract.TOTP], contract.TOTP); err != nil {
		t.Error(err)
	}
	if err := seal.Check(paths[contract.TOTP], contract.Policy); err == nil || !strings.Contains(err.Error(), "belongs to totp-svc") {
		t.Errorf("that of another: %v", err)
	}
	raw, err := os.ReadFile(paths[contract.TOTP])
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string][2]string{
		"no key of KMS": {kmstest.URI, "aws-kms://nobody"}, "nothing wrapped": {"encryptedKeyset", "other"}, "cut off": {"}", ""},
	} {
		broken := filepath.Join(dir, "broken.json")
		if err := os.WriteFile(broken, []byte(strings.ReplaceAll(string(raw), change[0], change[1])), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := seal.Check(broken, contract.TOTP); err == nil || !strings.Contains(err.Error(), broken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if after, _ := kms.Asked(); len(after) != len(before) {
		t.Errorf("KMS was asked: %v", after[len(before):])
	}
	plain, err := seal.Generate(t.TempDir(), []contract.Service{contract.TOTP}, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := seal.Check(plain[contract.TOTP], contract.TOTP); err != nil {
		t.Errorf("in clear: %v", err)
	}
	if err := os.Chmod(plain[contract.TOTP], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := seal.Check(plain[contract.TOTP], contract.TOTP); err == nil {
		t.Error("a file that everybody may read is taken")
	}
}
