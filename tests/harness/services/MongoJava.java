import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.util.List;

/** A MongoDB server in memory on 127.0.0.1, on the port of the first argument. */
public class MongoJava {
    public static void main(String[] arguments) throws Exception {
        MemoryBackend backend = new MemoryBackend();
        // By itself it reports a wire version that today's drivers refuse.
        backend.version(new MongoVersion() {
            public int getWireVersion() {
                return 13;
            }

            public List<Integer> getVersionArray() {
                return List.of(5, 0, 0, 0);
            }
        });
        new MongoServer(backend).bind("127.0.0.1", Integer.parseInt(arguments[0]));
        Thread.currentThread().join();
    }
}
