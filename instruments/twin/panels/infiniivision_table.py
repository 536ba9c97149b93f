"""Plain settings of a simulated InfiniiVision oscilloscope: kept, queried and reset; what acts on records is elsewhere.

Headers, words and ranges from the programmer's guides of the 2000, 3000T and 4000 X-Series.
"""

ACQUISITION = """
    ACQuire:TYPE                  NORM     words NORMal AVERage PEAK HRESolution
    ACQuire:MODE                  RTIM     words RTIMe
    ACQuire:COMPlete              100      int 100 100
    ACQuire:COUNt                 8        int 2 65536
    ACQuire:DAALias               AUTO     words AUTO DISable
    ACQuire:DIGitizer             0        bool
    TIMebase:MODE                 MAIN     words MAIN WINDow XY ROLL
    TIMebase:REFerence            CENT     words LEFT CENTer RIGHt
    TIMebase:POSition             0        real -500 5000 s
    TIMebase:VERNier              0        bool
    TIMebase:DELay                0        real -500 5000 s @TIMebase:POSition
    TIMebase:WINDow:POSition      0        real -500 5000 s
    TIMebase:WINDow:RANGe         5e-4     real 20e-9 500 s
    TIMebase:WINDow:SCALe         5e-5     real 2e-9 50 s
    WAVeform:FORMat               BYTE     words BYTE WORD ASCii
    WAVeform:UNSigned             1        bool
    WAVeform:BYTeorder            MSBF     words MSBFirst LSBFirst
    WAVeform:POINts:MODE          NORM     words NORMal MAXimum RAW
    WAVeform:VIEW                 MAIN     words MAIN
"""
INPUTS = """
    CHANnel<n>:BWLimit            0        bool
    CHANnel<n>:INVert             0        bool
    CHANnel<n>:VERNier            0        bool
    CHANnel<n>:DISPlay            0        bool
    CHANnel<n>:COUPling           DC       words AC DC
    CHANnel<n>:IMPedance          ONEM     words ONEMeg
    EXTernal:RANGe                8        real -400 400 V
    CHANnel<n>:UNITs              VOLT     words VOLT AMPere
    CHANnel<n>:PROBe:SKEW         0        real -100e-9 100e-9 s
    CHANnel<n>:PROBe:STYPe        SING     words DIFFerential SINGle
    CHANnel<n>:PROBe:ID           NONE     words NONE
    EXTernal:BWLimit              0        bool
    EXTernal:PROBe                1        real 0.001 10000
    EXTernal:UNITs                VOLT     words VOLT AMPere
    EXTernal:POSition             0        real -500 500
"""
TRIGGER = """
    TRIGger:MODE                  EDGE     words EDGE GLITch PATTern TV RUNT TRANsition
    TRIGger:SWEep                 AUTO     words AUTO NORMal
    TRIGger:HFReject              0        bool
    TRIGger:NREJect               0        bool
    TRIGger:HOLDoff               40e-9    real 40e-9 10 s
    TRIGger[:EDGE]:SLOPe          POS      words POSitive NEGative EITHer
    TRIGger[:EDGE]:COUPling       DC       words DC AC LFReject
    TRIGger[:EDGE]:REJect         OFF      words OFF LFReject HFReject
    TRIGger:GLITch:GREaterthan    3e-8     real 2e-9 10 s
    TRIGger:GLITch:LESSthan       3e-8     real 2e-9 10 s
    TRIGger:GLITch:QUALifier      LESS     words GREaterthan LESSthan RANGe
    TRIGger:GLITch:POLarity       POS      words POSitive NEGative
    TRIGger:GLITch:LEVel          0        real -400 400 V
    TRIGger:TV:LINE               1        int 1 1100
    TRIGger:TV:MODE               ALIN     words FIEld1 FIEld2 ALLFields LINE LFIeld1 LFIeld2 LALTernate ALINes
    TRIGger:TV:POLarity           NEG      words POSitive NEGative
    TRIGger:TV:STANdard           NTSC     words NTSC PAL PALM SECam
    TRIGger:LEVel:HIGH            0        real -400 400 V
    TRIGger:LEVel:LOW             0        real -400 400 V
"""
SCREEN = """
    DISPlay:ANNotation<n>             0    bool
    DISPlay:ANNotation<n>:TEXT        -    text 254
    DISPlay:ANNotation<n>:BACKground  OPAQ words OPAQue INVerted TRANsparent
    DISPlay:ANNotation<n>:COLor       WHIT words CH1 CH2 CH3 CH4 DIG MATH REF MARKer WHITe RED
    DISPlay:INTensity:WAVeform        50   int 0 100
    DISPlay:LABel                     0    bool
    DISPlay:PERSistence               MIN  real 0.1 60 s or MINimum INFinite
    DISPlay:SIDebar                   SUMM words SUMMary CURSors MEASurements DVM NAVigate CONTrols
    DISPlay:VECTors                   1    bool
    HARDcopy:AREA                     SCR  words SCReen
    HARDcopy:APRinter                 -    text 64
    HARDcopy:FACTors                  0    bool
    HARDcopy:FFEed                    0    bool
    HARDcopy:INKSaver                 1    bool
    HARDcopy:LAYout                   LAND words LANDscape PORTrait
    HARDcopy:PALette                  COL  words COLor GRAYscale NONE
    SAVE:IMAGe:FACTors                0    bool
    SAVE:IMAGe:INKSaver               1    bool
    SAVE:IMAGe:PALette                COL  words COLor GRAYscale
    SAVE:FILename                     -    text 64
    MARKer:MODE                       OFF  words OFF MEASurement MANual WAVeform BINary HEX
    MARKer:X1Position                 0    real -5000 5000 s
    MARKer:X2Position                 0    real -5000 5000 s
    MARKer:Y1Position                 0    real -4e5 4e5 V
    MARKer:Y2Position                 0    real -4e5 4e5 V
    MARKer:X1Y1source                 CHAN1 words CHANnel1 CHANnel2 CHANnel3 CHANnel4 NONE
    MARKer:X2Y2source                 CHAN1 words CHANnel1 CHANnel2 CHANnel3 CHANnel4 NONE
    SYSTem:DSP                        -    text 254
    SYSTem:LOCK                       0    bool
    SYSTem:PRECision                  0    bool
    SYSTem:PROTection:LOCK            0    bool
    SYSTem:MENU                       OFF  words OFF MASK MEASure SEGMented LISTer POWer CURSor
    DVM:ENABle                        0    bool
    DVM:ARANge                        1    bool
    DVM:MODE                          ACRM words ACRMs DC DCRMs FREQuency
    DVM:SOURce                        CHAN1 words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    MEASure:STATistics                ON   words ON CURRent MINimum MAXimum MEAN STDDev COUNt
    MEASure:STATistics:DISPlay        1    bool
    MEASure:STATistics:MCOunt         2000 int 2 2000 or INFinite
    MEASure:STATistics:RSDeviation    0    bool
    MEASure:WINDow                    AUTO words MAIN ZOOM AUTO GATE
    MEASure:SHOW                      1    bool
    MEASure:DEFine:THResholds         10   real 5 95
"""
MATHS = """
    FUNCtion:DISPlay              0        bool
    FUNCtion:OPERation            SUBT     words ADD SUBTract MULTiply
    FUNCtion:SOURce1              CHAN1    words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    FUNCtion:SOURce2              CHAN2    words CHANnel1 CHANnel2 CHANnel3 CHANnel4
    FUNCtion:SCALe                1        real 1e-9 1e9
    FUNCtion:RANGe                8        real 1e-9 1e9
    FUNCtion:OFFSet               0        real -1e9 1e9
    FUNCtion:LABel                -        text 10
"""
