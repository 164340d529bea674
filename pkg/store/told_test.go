package store_test

import (
	"strings"
	"testing"

	"sallyport/pkg/store"
)

func TestCheckURI(t *testing.T) {
	for _, good := range []string{
		"mongodb://127.0.0.1:27017", "mongodb://app:hunter2@a,b:27018,c/?replicaSet=sallyport&authSource=sallyport&tls=true",
		"mongodb+srv://a.example/?retryWrites=true&srvMaxHosts=2&srvServiceName=mongo", "mongodb+srv://app:hunter2@cluster.example/?retryWrites=true", "mongodb://127.0.0.1:27017/?directConnection=true&retryWrites=false",
	} {
		if err := store.CheckURI(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "hunter2", "127.0.0.1:27017", "http://127.0.0.1", "mongodb://", "mongodb://a:99999", "mongodb://app:hunter2%@127.0.0.1", "mangodb://app:hunter2@127.0.0.1",
		"mongodb+srv://a.example/?srvMaxHosts=hunter2", "mongodb+srv://", "mongodb://a,b/?directConnection=true", "mongodb://a/?tls=hunter2",
	} {
		if err := store.CheckURI(bad); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	// A file that it names is named.
	if err := store.CheckURI("mongodb://app:hunter2@a/?tls=true&tlsCAFile=%2Fnowhere%2Fca.pem"); err == nil || !strings.Contains(err.Error(), "/nowhere/ca.pem") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}
