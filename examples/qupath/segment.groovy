/*
 * QuPath (0.5 and newer): the cells inside the selected annotations, as detections.
 *
 * Automate > Script editor, Run; Run for project does it for all images. Draw or select an annotation first; without one the whole image
 * is taken, at the scale below.
 *
 * The daemon is asked by REST: its settings need http = ["tcp://127.0.0.1:9464"]. CELLSEGD_URL names another one, CELLSEGD_TOKEN what
 * `cellsegd pair` printed. CI checks that this is Groovy, and asks a daemon for the same GeoJSON; QuPath itself is not run there.
 */
import groovy.json.JsonSlurper
import java.awt.geom.AffineTransform
import javax.imageio.ImageIO
import qupath.lib.io.PathIO
import qupath.lib.objects.PathObjectTools
import qupath.lib.regions.RegionRequest

def address = System.getenv("CELLSEGD_URL") ?: "http://127.0.0.1:9464"
def token = System.getenv("CELLSEGD_TOKEN")
// Image pixels a pixel that is sent: 1 for cell culture at 10x or 20x; more for slides, where the model was trained on larger pixels.
double downsample = 1.0
def confidence = 0.3

def imageData = getCurrentImageData()
def server = imageData.server
def areas = getSelectedObjects().findAll { it.isAnnotation() && it.hasROI() }
if (areas.isEmpty()) areas = [createFullImageAnnotation(true)]

areas.each { area ->
    def region = RegionRequest.createInstance(server.path, downsample, area.ROI)
    def picture = new ByteArrayOutputStream()
    ImageIO.write(server.readRegion(region), "PNG", picture)

    def size = server.pixelCalibration.averagedPixelSizeMicrons * downsample
    def query = "confidence=$confidence" + (Double.isNaN(size) ? "" : "&pixel_size_um=$size")
    HttpURLConnection call = new URL("$address/v1/segment?$query").openConnection()
    call.requestMethod = "POST"
    call.doOutput = true
    call.connectTimeout = 5_000
    call.readTimeout = 120_000
    call.setRequestProperty("Content-Type", "image/png")
    call.setRequestProperty("Accept", "application/geo+json")
    if (token) call.setRequestProperty("Authorization", "Bearer $token")
    // A daemon that says no says so before it reads the frame; without this Java would only say that the line broke.
    call.setRequestProperty("Expect", "100-continue")
    call.fixedLengthStreamingMode = picture.size()
    try { call.outputStream.withCloseable { it.write(picture.toByteArray()) } } catch (ProtocolException refused) { }
    if (call.responseCode != 200) {
        def said = call.errorStream?.text ?: ""
        throw new IOException(said.startsWith("{") ? new JsonSlurper().parseText(said).detail : "HTTP $call.responseCode")
    }

    // The polygons are in pixels of what was sent: back to the image's.
    def back = new AffineTransform(downsample, 0, 0, downsample, region.x, region.y)
    def cells = PathIO.readObjectsFromGeoJSON(call.inputStream).collect { PathObjectTools.transformObject(it, back, true) }
    // What the box holds and the annotation does not.
    cells = cells.findAll { area.ROI.contains(it.ROI.centroidX, it.ROI.centroidY) }
    area.clearChildObjects()
    area.addChildObjects(cells)
    println "${cells.size()} cells in $area"
}
fireHierarchyUpdate()
