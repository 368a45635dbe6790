/*
 * Fiji and ImageJ: the cells of the image that is open, as regions in the ROI Manager, and a row each in the results table.
 *
 * In Fiji: File > New > Script..., language Groovy, Run. For every image of a folder: Process > Batch > Macro does not know Groovy, so
 * loop here over what `segment` takes. Without a window (ImageJ alone will do):
 *
 *   groovy -cp ij.jar segment.groovy IMAGE [ROIS.zip]
 *
 * The daemon is asked by REST: its settings need http = ["tcp://127.0.0.1:9464"]. CELLSEGD_URL names another one, CELLSEGD_TOKEN what
 * `cellsegd pair` printed. CI runs this without a window against a daemon, with Debian's ImageJ.
 */
import groovy.json.JsonSlurper
import ij.IJ
import ij.ImagePlus
import ij.io.RoiDecoder
import ij.measure.ResultsTable
import ij.plugin.frame.RoiManager
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.ZipInputStream

address = System.getenv("CELLSEGD_URL") ?: "http://127.0.0.1:9464"
token = System.getenv("CELLSEGD_TOKEN")
// What is asked for beside the cells; more are listed at /openapi.json of the daemon.
parameters = [confidence: null, model: null]

/** The answer's bytes. Throws what the daemon says where it says no. */
byte[] post(String path, Map query, byte[] body, String accept) {
    def text = query.findAll { it.value != null }.collect { "${it.key}=${URLEncoder.encode(it.value.toString(), 'UTF-8')}" }.join("&")
    HttpURLConnection call = new URL("$address$path?$text").openConnection()
    call.requestMethod = "POST"
    call.doOutput = true
    call.connectTimeout = 5_000
    call.readTimeout = 120_000
    call.setRequestProperty("Content-Type", "application/octet-stream")
    call.setRequestProperty("Accept", accept)
    if (token) call.setRequestProperty("Authorization", "Bearer $token")
    // A daemon that says no says so before it reads the frame; without this Java would only say that the line broke.
    call.setRequestProperty("Expect", "100-continue")
    call.fixedLengthStreamingMode = body.length
    try { call.outputStream.withCloseable { it.write(body) } } catch (ProtocolException refused) { }
    if (call.responseCode == 200) return call.inputStream.bytes
    def said = call.errorStream?.text ?: ""
    throw new IOException(said.startsWith("{") ? new JsonSlurper().parseText(said).detail : "HTTP $call.responseCode")
}

/** As the camera delivered it: 8 or 16 bits, no copy through PNG. */
Map raw(ImagePlus image) {
    def pixels = image.processor.pixels
    if (pixels instanceof byte[]) return [format: "Mono8", bytes: pixels]
    if (!(pixels instanceof short[])) throw new IOException("$image.title: must have 8 or 16 bits a pixel: Image > Type")
    def bytes = ByteBuffer.allocate(2 * pixels.length).order(ByteOrder.LITTLE_ENDIAN)
    bytes.asShortBuffer().put(pixels)
    [format: "Mono16", bytes: bytes.array()]
}

/** A zip of ImageJ's own regions, each named after its cell. */
byte[] segment(ImagePlus image) {
    def frame = raw(image)
    def calibration = image.calibration
    def query = parameters + [format: frame.format, width: image.width, height: image.height]
    if (calibration.unit in ["micron", "microns", "um", "\u00b5m"]) query.pixel_size_um = calibration.pixelWidth
    post("/v1/segment", query, frame.bytes, "application/zip")
}

List regionsIn(byte[] archive) {
    def zip = new ZipInputStream(new ByteArrayInputStream(archive))
    def regions = []
    for (def entry = zip.nextEntry; entry != null; entry = zip.nextEntry) {
        if (!entry.name.endsWith(".roi")) continue
        def bytes = new ByteArrayOutputStream()
        bytes << zip  // this entry; `zip.bytes` would close the archive
        regions << new RoiDecoder(bytes.toByteArray(), entry.name).roi
    }
    regions
}

def inFiji = !binding.hasVariable("args") || args.length == 0
def image = inFiji ? IJ.getImage() : IJ.openImage(args[0])
if (image == null) throw new IOException("${args[0]}: not an image that ImageJ reads")
def archive = segment(image)
def regions = regionsIn(archive)

def table = new ResultsTable()
regions.each { region ->
    image.setRoi(region)
    def statistics = image.statistics
    table.incrementCounter()
    table.addLabel(region.name)
    table.addValue("Area", statistics.area)
    table.addValue("Mean", statistics.mean)
}
image.deleteRoi()
if (inFiji) {
    def manager = RoiManager.roiManager
    manager.reset()
    regions.each { manager.addRoi(it) }
    manager.runCommand(image, "Show All")
    table.show("Results")
} else {
    println "${regions.size()} cells"
    (0..<table.counter).each { println "${table.getLabel(it)} ${table.getValue('Area', it)} ${table.getValue('Mean', it)}" }
    if (args.length > 1) new File(args[1]).bytes = archive
}
