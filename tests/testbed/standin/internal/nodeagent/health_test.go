package nodeagent

import (
	"io"
	"net/http"
	"path/filepath"
	"testing"
)

func TestReadinessHasTheTableOfFelix(t *testing.T) {
	h, address := newHealth(t)
	h.Started()
	problem := ""
	h.BPF = func() (bool, string) { return true, problem }
	expectTable(t, address, http.StatusOK, `
+---------------------------+---------+----------------+-----------------+--------+
|         COMPONENT         | TIMEOUT |    LIVENESS    |    READINESS    | DETAIL |
+---------------------------+---------+----------------+-----------------+--------+
| BPFEndpointManager        | 0s      | -              | reporting ready |        |
| CalculationGraph          | 30s     | reporting live | reporting ready |        |
| FelixStartup              | 0s      | reporting live | reporting ready |        |
| InternalDataplaneMainLoop | 1m30s   | reporting live | reporting ready |        |
+---------------------------+---------+----------------+-----------------+--------+
`)
	problem = "Not yet synced."
	expectTable(t, address, http.StatusServiceUnavailable, `
+---------------------------+---------+----------------+---------------------+-----------------+
|         COMPONENT         | TIMEOUT |    LIVENESS    |      READINESS      |     DETAIL      |
+---------------------------+---------+----------------+---------------------+-----------------+
| BPFEndpointManager        | 0s      | -              | reporting non-ready | Not yet synced. |
| CalculationGraph          | 30s     | reporting live | reporting ready     |                 |
| FelixStartup              | 0s      | reporting live | reporting ready     |                 |
| InternalDataplaneMainLoop | 1m30s   | reporting live | reporting ready     |                 |
+---------------------------+---------+----------------+---------------------+-----------------+
`)
	h.BPF = func() (bool, string) { return false, "" }
	h.UnreadyFile = filepath.Join(t.TempDir(), "none")
	if reporters, isReady := h.reporters(); len(reporters) != 3 || !isReady {
		t.Errorf("%v, ready %v", reporters, isReady)
	}
}

func expectTable(t *testing.T, address string, status int, want string) {
	t.Helper()
	answer, err := http.Get("http://" + address + "/readiness")
	must(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	must(t, err)
	if got := "\n" + string(body); answer.StatusCode != status || got != want {
		t.Errorf("%d%s\nwanted %d%s", answer.StatusCode, got, status, want)
	}
}
