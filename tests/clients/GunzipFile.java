import java.io.FileInputStream;
import java.util.zip.GZIPInputStream;

/** Prints what a gzip file decodes to. */
class GunzipFile {
    public static void main(String[] arguments) throws Exception {
        try (var file = new GZIPInputStream(new FileInputStream(arguments[0]))) {
            file.transferTo(System.out);
        }
        System.out.flush();
    }
}
